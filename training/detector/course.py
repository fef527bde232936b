"""The detector's training: small pictures full of plates, a quarter as large as what is served.

Whatever is learnt there holds at any place of a larger picture, and of large plates in a smaller one (model.py). A
training begins with weights by lot, or with those of one before it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from shardline.training.detector.backdrops import Backdrops
from shardline.training.detector.calibrate import calibrate
from shardline.training.detector.data import BATCH, Pictures, Sample
from shardline.training.detector.fold import begin_with, fold
from shardline.training.detector.loss import losses, misread
from shardline.training.detector.measure import Measure
from shardline.training.detector.model import LEAST_SIDE, STRIDES, PlateDetector
from shardline.training.detector.shown import characters_shown, normalised, plates_shown
from shardline.training.detector.targets import make_target
from shardline.training.detector.things import KINDS
from shardline.training.plates.backgrounds import Backgrounds
from shardline.training.plates.fonts import families
from shardline.wire.errors import ModelError

OTHER_SEED = 1 << 32  # beyond it lie the pictures that scores are taken from

_SCORED = 200  # pictures that each score is taken from; of a short training fewer
_LOOKED_AT = 16  # pictures from which a detector's normalisation is found again
_PLATES = 3  # looks at plates in each picture: all of them would take half as much time again as the rest
_ANSWERS = ("places.weight", "where.weight")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
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


class DetectorCourse:
    """A fit.Course. Only fonts to train with are drawn, on photographs of `files`.

    `weights`, those of a detector that a training wrote, are begun with; of what they lack by lot.
    """

    def __init__(self, recipe: Recipe, files: Sequence[Path], weights: Mapping[str, Tensor] | None = None) -> None:
        photographs = tuple(files)
        self._recipe, self._weights = recipe, weights
        self._fonts = families("train")
        self._plain = Backgrounds(files=photographs)
        self._drawn = Pictures(
            seed=recipe.seed, side=recipe.side, fonts=self._fonts, backgrounds=Backdrops(files=photographs)
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
            pictures = normalised([each.pixels for each in samples], torch.device("cpu"))
            shown = [each(samples, pictures.device)[0] for each in (characters_shown, plates_shown)]
            begin_with(model, self._weights, PlateDetector(), lambda: model.heads(pictures, *shown))
        return model

    def matrices(self, model: torch.nn.Module) -> list[torch.nn.Parameter]:
        return hidden_convolutions(model)

    def losses(self, model: torch.nn.Module, batch: Sequence[Sample], device: torch.device) -> dict[str, Tensor]:
        assert isinstance(model, PlateDetector)
        side = batch[0].pixels.shape[0]
        things = [each.things for each in batch]
        targets = [make_target(kind, things, side, STRIDES[kind]).to(device) for kind in range(len(KINDS))]
        seen, classes = characters_shown(batch, device)
        plates, texts = plates_shown(batch, device, _PLATES)
        maps, characters, read = model.heads(normalised([each.pixels for each in batch], device), seen, plates)
        found = losses(maps, targets)
        if len(classes):
            found["characters_class"] = misread(characters, classes)
        if len(texts):
            found["texts"] = misread(read.flatten(0, 1), texts.flatten())
        return found

    def scores(self, model: torch.nn.Module, device: torch.device) -> dict[str, float]:
        """The share of plates read right, of those that can be read, among pictures that are never trained with."""
        measure = Measure()
        with torch.inference_mode():
            for start in range(0, len(self._scored), BATCH):
                samples = self._scored[start : start + BATCH]
                outputs = model(normalised([each.pixels for each in samples], device))
                measure.add([each.float().cpu().numpy() for each in outputs], samples)
        return measure.scores()

    def finished(self, trained: torch.nn.Module) -> tuple[PlateDetector, dict[str, Any]]:
        """The detector without normalisation, its scores calibrated, and what more there is to say of it."""
        detector = fold(trained, PlateDetector())
        return detector, {"calibration": calibrate(detector, self._unseen())}

    def _unseen(self) -> Iterator[tuple[Tensor, Sequence[Sample]]]:
        """Pictures as large as what is served, never trained with, by the batch, on the CPU: to calibrate scores."""
        others = replace(self._others, side=2 * self._recipe.side)
        for index in range(0, self._count, BATCH):
            samples = [others.draw(each) for each in range(index, min(index + BATCH, self._count))]
            yield normalised([each.pixels for each in samples], torch.device("cpu")), samples

    @property
    def _count(self) -> int:
        return min(_SCORED, self._recipe.pictures // 4)

    @property
    def _others(self) -> Pictures:
        return replace(self._drawn, seed=self._recipe.seed + OTHER_SEED, backgrounds=self._plain)

    @cached_property
    def _scored(self) -> list[Sample]:
        return [self._others.draw(index) for index in range(self._count)]


def hidden_convolutions(model: torch.nn.Module) -> list[torch.nn.Parameter]:
    """All convolutions but the first ones, which look at pixels, and the last ones, which answer."""
    named = [(name, each) for name, each in model.named_parameters() if each.dim() == 4]
    return [each for name, each in named if "stem." not in name and not name.endswith(_ANSWERS)]
