"""A classifier that gives known scores for pictures that are identified by their colour."""

import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from shardline.training.evaluation.classifier.pictures import LabelledPicture
from shardline.training.evaluation.classifier.sources import ClassPrediction

ANIMALS = ("ant", "bee", "cat", "dog", "eel", "fly")


def png(shade: int) -> bytes:
    with io.BytesIO() as buffer:
        Image.new("RGB", (4, 4), (shade, 0, 0)).save(buffer, "PNG")
        return buffer.getvalue()


@dataclass(frozen=True)
class GivenPictures:
    """Pictures with these labels; the shade of red of a picture is its number."""

    labels: tuple[str, ...]
    shown: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.shown)

    def __iter__(self) -> Iterator[LabelledPicture]:
        for number, label in enumerate(self.shown):
            yield LabelledPicture(name=f"{number}.png", picture=png(number), label=label)


@dataclass(frozen=True)
class GivenScores:
    """A source whose scores are `give(number of the picture)`."""

    give: Callable[[int], Sequence[float]]
    labels: tuple[str, ...] = ANIMALS
    name: str = "it"
    outputs: bool = False
    asked: list[int] = field(default_factory=list)

    def predict(self, picture: bytes) -> ClassPrediction:
        with Image.open(io.BytesIO(picture)) as opened:
            number = opened.getpixel((0, 0))[0]  # type: ignore[index]
        self.asked.append(number)
        scores = np.array(self.give(number), np.float64)
        order = np.argsort(-scores, kind="stable")
        return ClassPrediction(
            labels=self.labels, scores=scores, order=order, outputs={"logits": scores} if self.outputs else None
        )


def scores_for(place: int, score: float = 0.5) -> list[float]:
    rest = (1 - score) / (len(ANIMALS) - 1)
    return [score if each == place else rest for each in range(len(ANIMALS))]
