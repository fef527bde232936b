"""Training tasks of the detector: all of it, or its reader of whole plates alone."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from shardline.partition.models import IMAGENET_MEAN, IMAGENET_STD
from shardline.training.detector.augmentation import AugmentedBackgrounds
from shardline.training.detector.layers import fold_normalisation, load_folded
from shardline.training.detector.losses import detection_losses, make_target, reading_loss
from shardline.training.detector.model import LEAST_SIDE, STRIDES, PlateDetector
from shardline.training.detector.objects import CHARACTERS, KINDS, NOTHING, TEXTS
from shardline.training.detector.readers import (
    CHARACTER_SIDE,
    PLATE_SIZE,
    TextReader,
    crop_boards,
    crop_characters,
)
from shardline.training.detector.samples import BATCH, DetectorSample, DetectorSamples
from shardline.training.detector.scores import DetectorScores, calibrate
from shardline.training.plates.backgrounds import Backgrounds
from shardline.training.plates.fonts import families
from shardline.wire.errors import ModelError

Looks = NDArray[np.float32]

OTHER_SEED = 1 << 32  # beyond it lie the pictures that scores are taken from

_SCORED = 200  # pictures that each score is taken from; of a short training fewer
_LOOKED_AT = 16  # pictures from which a detector's normalisation is found again
_PLATES = 3  # looks at plates in each picture: all of them would take half as much time again as the rest
_ANSWERS = ("places.weight", "where.weight")

TEXT_BATCH = 16  # pictures

_TEXTS_SCORED = 640  # pictures that each score is taken from; of a short training fewer
_WRITING = 0.9  # share of boards that are no plates with any letters and digits: it must not take them for plates
_PREFIX = "text_reader."


def normalise(pictures: Sequence[NDArray[np.uint8]], device: torch.device) -> Tensor:
    """Pixels [side, side, 3] each -> float32 [batch, 3, side, side], as shardline.partition.capture.Pixels has them."""
    pixels = torch.from_numpy(np.stack(pictures)).to(device).permute(0, 3, 1, 2)
    mean, std = (torch.tensor(each, device=device).view(1, 3, 1, 1) for each in (IMAGENET_MEAN, IMAGENET_STD))
    return (pixels.to(torch.float32) / 255 - mean) / std


def character_batch(samples: Sequence[DetectorSample], device: torch.device) -> tuple[Tensor, Tensor]:
    """What the reader sees of all samples, [m, 3, 32, 32], and the characters' classes, [m]."""
    seen, rows = _shown(
        samples, [each.looks for each in samples], (CHARACTER_SIDE, CHARACTER_SIDE), device, _characters
    )
    return seen, torch.from_numpy(rows[:, 4]).long().to(device)


def plate_batch(
    samples: Sequence[DetectorSample], device: torch.device, most: int | None = None
) -> tuple[Tensor, Tensor]:
    """What the reader of texts sees, [m, 3, 64, 128], and the classes of each plate's places, [m, 7].

    Args:
        most: looks at each sample; the first ones, which are any.
    """
    seen, rows = _shown(samples, [each.plates[:most] for each in samples], PLATE_SIZE, device, _boards)
    return seen, torch.from_numpy(rows[:, TEXTS:]).long().to(device)


def _characters(picture: Tensor, looks: Tensor) -> Tensor:
    return crop_characters(picture, looks[..., :4])


def _boards(picture: Tensor, looks: Tensor) -> Tensor:
    return crop_boards(picture, looks[..., :4], looks[..., 4:TEXTS])


def _shown(
    samples: Sequence[DetectorSample], looks: Sequence[Looks], size: tuple[int, int], device: torch.device,
    cut: Callable[[Tensor, Tensor], Tensor],
) -> tuple[Tensor, Looks]:  # fmt: skip
    seen = [torch.zeros(0, len(IMAGENET_MEAN), *size, device=device)]
    for sample, rows in zip(samples, looks, strict=True):
        if len(rows):
            picture, values = (torch.from_numpy(each).to(device) for each in (sample.pixels, rows))
            seen.append(cut(picture.permute(2, 0, 1)[None], values[None]))
    return torch.cat(seen), np.concatenate(looks)


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorRecipe:
    """All that decides the weights, beside the code, fit.Settings and the number of threads.

    Raises:
        ModelError: a size or share that no picture can have.
    """

    seed: int = 0
    pictures: int = 40_000
    side: int = 256  # of the pictures, in pixels

    def __post_init__(self) -> None:
        if self.side % LEAST_SIDE or self.side < LEAST_SIDE:
            raise ModelError(f"--side {self.side}: allowed are multiples of {LEAST_SIDE}, e.g. 256")
        if self.pictures < BATCH:
            raise ModelError(f"--pictures {self.pictures}: allowed are {BATCH} or more")


class DetectorTrainingTask:
    """A fit.Course. Only fonts to train with are drawn, on photographs of `files`.

    `weights`, those of a detector that a training wrote, are begun with; of what they lack by lot.
    """

    def __init__(
        self, recipe: DetectorRecipe, files: Sequence[Path], weights: Mapping[str, Tensor] | None = None
    ) -> None:
        photographs = tuple(files)
        self._recipe, self._weights = recipe, weights
        self._fonts = families("train")
        self._plain = Backgrounds(files=photographs)
        self._drawn = DetectorSamples(
            seed=recipe.seed, side=recipe.side, fonts=self._fonts, backgrounds=AugmentedBackgrounds(files=photographs)
        )
        self.steps = recipe.pictures // BATCH
        self.draw = self._drawn.batch

    def pictures(self, step: int) -> int:
        return step * BATCH

    def model(self) -> PlateDetector:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self._recipe.seed)
            model = PlateDetector(normed=True)
        if self._weights is not None:
            samples = [self._drawn.draw(index) for index in range(_LOOKED_AT)]
            pictures = normalise([each.pixels for each in samples], torch.device("cpu"))
            shown = [each(samples, pictures.device)[0] for each in (character_batch, plate_batch)]
            load_folded(model, self._weights, PlateDetector(), lambda: model.heads(pictures, *shown))
        return model

    def matrices(self, model: torch.nn.Module) -> list[torch.nn.Parameter]:
        return hidden_convolutions(model)

    def losses(
        self, model: torch.nn.Module, batch: Sequence[DetectorSample], device: torch.device
    ) -> dict[str, Tensor]:
        assert isinstance(model, PlateDetector)
        side = batch[0].pixels.shape[0]
        things = [each.things for each in batch]
        targets = [make_target(kind, things, side, STRIDES[kind]).to(device) for kind in range(len(KINDS))]
        seen, classes = character_batch(batch, device)
        plates, texts = plate_batch(batch, device, _PLATES)
        maps, characters, read = model.heads(normalise([each.pixels for each in batch], device), seen, plates)
        found = detection_losses(maps, targets)
        if len(classes):
            found["characters_class"] = reading_loss(characters, classes)
        if len(texts):
            found["texts"] = reading_loss(read.flatten(0, 1), texts.flatten())
        return found

    def scores(self, model: torch.nn.Module, device: torch.device) -> dict[str, float]:
        """The share of plates read right, of those that can be read, among pictures that are never trained with."""
        measure = DetectorScores()
        with torch.inference_mode():
            for start in range(0, len(self._scored), BATCH):
                samples = self._scored[start : start + BATCH]
                outputs = model(normalise([each.pixels for each in samples], device))
                measure.add([each.float().cpu().numpy() for each in outputs], samples)
        return measure.scores()

    def finished(self, trained: torch.nn.Module) -> tuple[PlateDetector, dict[str, Any]]:
        """The detector without normalisation, its scores calibrated, and what more there is to say of it."""
        detector = fold_normalisation(trained, PlateDetector())
        return detector, {"calibration": calibrate(detector, self._unseen())}

    def _unseen(self) -> Iterator[tuple[Tensor, Sequence[DetectorSample]]]:
        """Pictures as large as what is served, never trained with, by the batch, on the CPU: to calibrate scores."""
        others = replace(self._others, side=2 * self._recipe.side)
        for index in range(0, self._count, BATCH):
            samples = [others.draw(each) for each in range(index, min(index + BATCH, self._count))]
            yield normalise([each.pixels for each in samples], torch.device("cpu")), samples

    @property
    def _count(self) -> int:
        return min(_SCORED, self._recipe.pictures // 4)

    @property
    def _others(self) -> DetectorSamples:
        return replace(self._drawn, seed=self._recipe.seed + OTHER_SEED, backgrounds=self._plain)

    @cached_property
    def _scored(self) -> list[DetectorSample]:
        return [self._others.draw(index) for index in range(self._count)]


def hidden_convolutions(model: torch.nn.Module) -> list[torch.nn.Parameter]:
    """All convolutions but the first ones, which look at pixels, and the last ones, which answer."""
    named = [(name, each) for name, each in model.named_parameters() if each.dim() == 4]
    return [each for name, each in named if "stem." not in name and not name.endswith(_ANSWERS)]


class TextReaderTrainingTask:
    """A fit.Course for the reader of texts in a detector with these `weights`, which may lack it.

    Raises:
        ModelError: fewer pictures than a batch.
    """

    def __init__(self, recipe: DetectorRecipe, files: Sequence[Path], weights: Mapping[str, Tensor]) -> None:
        if recipe.pictures < TEXT_BATCH:
            raise ModelError(f"--pictures {recipe.pictures}: allowed are {TEXT_BATCH} or more")
        self._recipe, self._weights = recipe, weights
        self._drawn = DetectorSamples(
            seed=recipe.seed,
            side=recipe.side,
            fonts=families("train"),
            backgrounds=AugmentedBackgrounds(files=tuple(files)),
            writing=_WRITING,
        )
        self.steps = recipe.pictures // TEXT_BATCH
        self.draw: Callable[[int], list[DetectorSample]] = partial(self._drawn.batch, count=TEXT_BATCH)

    def pictures(self, step: int) -> int:
        return step * TEXT_BATCH

    def model(self) -> TextReader:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self._recipe.seed)
            reader = TextReader(len(CHARACTERS), normed=True)
        known = {name.removeprefix(_PREFIX): each for name, each in self._weights.items() if name.startswith(_PREFIX)}
        if known:
            shown, _ = plate_batch([self._drawn.draw(index) for index in range(_LOOKED_AT)], torch.device("cpu"))
            load_folded(reader, known, TextReader(len(CHARACTERS), normed=False), lambda: reader.said(shown))
        return reader

    def matrices(self, model: torch.nn.Module) -> list[torch.nn.Parameter]:
        return hidden_convolutions(model)

    def losses(
        self, model: torch.nn.Module, batch: Sequence[DetectorSample], device: torch.device
    ) -> dict[str, Tensor]:
        assert isinstance(model, TextReader)
        shown, texts = plate_batch(batch, device)
        shown = shown.contiguous(memory_format=torch.channels_last)
        return {"texts": reading_loss(model.said(shown).flatten(0, 1), texts.flatten())}

    def scores(self, model: torch.nn.Module, device: torch.device) -> dict[str, float]:
        """`score`: the share of plates read right, of those that can be; `nothing`: of places where nothing is."""
        assert isinstance(model, TextReader)
        right = asked = nothing = empty = 0
        with torch.inference_mode():
            for start in range(0, len(self._scored), TEXT_BATCH):
                shown, texts = plate_batch(self._scored[start : start + TEXT_BATCH], device)
                same = model.said(shown).argmax(2) == texts
                readable = ((texts >= 0) & (texts < NOTHING)).all(1)
                right, asked = right + int(same[readable].all(1).sum()), asked + int(readable.sum())
                nothing, empty = nothing + int(same[texts == NOTHING].sum()), empty + int((texts == NOTHING).sum())
        return {"score": right / max(1, asked), "nothing": nothing / max(1, empty)}

    def finished(self, reader: torch.nn.Module) -> tuple[PlateDetector, dict[str, Any]]:
        """The detector with this reader, trained and normed, and nothing else changed; there is no more to say of it.

        Raises:
            ModelError: the weights are of another model.
        """
        detector = PlateDetector().eval()
        plain = fold_normalisation(reader, TextReader(len(CHARACTERS), normed=False))
        state = {f"{_PREFIX}{name}": each for name, each in plain.state_dict().items()}
        try:
            detector.load_state_dict({**self._weights, **state})
        except RuntimeError as exc:
            raise ModelError(
                "--weights are of another model: allowed are those that `shardline train plates` wrote"
            ) from exc
        return detector, {}

    @cached_property
    def _scored(self) -> list[DetectorSample]:
        others = replace(self._drawn, seed=self._recipe.seed + OTHER_SEED)
        return [others.draw(index) for index in range(min(_TEXTS_SCORED, self._recipe.pictures // 4))]
