"""Where scores come from: a program that runs in this process, or a chain that is served somewhere.

Both are read from the reply that the last shard makes: the same program gives the same scores to the last digit.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from shardline.tasks.classify import reply
from shardline.tasks.request import Request
from shardline.training.evaluation.difference import Outputs
from shardline.training.evaluation.sources import Program
from shardline.wire.errors import ModelError

ALL_CLASSES = {"top": 1_000_000}  # parameters of a request: more than any model has


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What is said of one picture.

    `labels` are those of the model's classes, in its order; `scores` float64 [classes] are theirs; `order` int64 [n],
    n at least 1, are the classes that it says, the surest first. `outputs` are the model's own, where they are known.
    """

    labels: tuple[str, ...]
    scores: NDArray[np.float64]
    order: NDArray[np.int64]
    outputs: Outputs | None = None


class Source(Protocol):
    """Something that can be shown a picture."""

    @property
    def name(self) -> str: ...

    def look(self, picture: bytes) -> Seen:
        """
        Raises:
            ShardlineError: the picture or the source is at fault.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Scorer:
    """A program in this process, whose outputs become a reply as the last shard's do."""

    program: Program

    @property
    def name(self) -> str:
        return self.program.name

    def look(self, picture: bytes) -> Seen:
        pixels, _ = self.program.fit(picture)
        outputs = self.program.run(pixels)
        [prediction] = reply(Request(outputs=outputs, labels=self.program.labels, parameters=ALL_CLASSES))
        seen = read_prediction(prediction)
        assert seen is not None
        return Seen(labels=seen.labels, scores=seen.scores, order=seen.order, outputs=outputs)


def read_prediction(prediction: object) -> Seen | None:
    """One prediction of a reply that lists all classes; None where it is none, or lists some of them only."""
    try:
        listed = [(int(each["index"]), str(each["label"]), float(each["score"])) for each in prediction["top"]]  # type: ignore[index]
    except (TypeError, KeyError, ValueError):
        return None
    order = [index for index, _, _ in listed]
    if not order or sorted(order) != list(range(len(order))):
        return None
    by_class = sorted(listed)
    return Seen(
        labels=tuple(label for _, label, _ in by_class),
        scores=np.array([score for _, _, score in by_class]),
        order=np.array(order),
    )


def classes_of(names: Sequence[str], labels: Sequence[str]) -> NDArray[np.int64]:
    """The model's class for each name of the data's classes: the one that is called so, or has that number.

    Raises:
        ModelError: a name is no class's, or that of several; or two names are the same class's.
    """
    classes = [_class_of(name, labels) for name in names]
    twice = [name for name, place in zip(names, classes, strict=True) if classes.count(place) > 1]
    if twice:
        raise ModelError(f"the folders {', '.join(twice)} are the same class of the model: put their pictures into one")
    return np.array(classes)


def _class_of(name: str, labels: Sequence[str]) -> int:
    called = [place for place, label in enumerate(labels) if label == name]
    if len(called) == 1:
        return called[0]
    if name.isdecimal() and int(name) < len(labels):
        return int(name)
    number = f"a number below {len(labels)}"
    if called:
        raise ModelError(f"{len(called)} of the model's classes are called {name!r}: call the folder {number} instead")
    shown = ", ".join(labels[:10]) + (", …" if len(labels) > 10 else "")
    raise ModelError(f"the folder {name!r} is called as none of the model's classes: allowed are {shown}, or {number}")
