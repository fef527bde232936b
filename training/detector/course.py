"""The detector's training: small pictures full of plates, a quarter as large as what is served.

Whatever is learnt there holds at any place of a larger picture, and of large plates in a smaller one (model.py). A
training begins with weights by lot, or with those of one before it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from partition.models import IMAGENET_MEAN, IMAGENET_STD
from training.detector.backdrops import Backdrops
from training.detector.data import BATCH, KINDS, Pictures, Sample
from training.detector.fold import begin_with
from training.detector.loss import losses, misread
from training.detector.measure import Measure
from training.detector.model import LEAST_SIDE, STRIDES, PlateDetector
from training.detector.reader import SIDE, cut_out
from training.detector.targets import make_target
from training.plates.backgrounds import Backgrounds
from training.plates.fonts import families
from wire.errors import ModelError

_SCORED = 200  # pictures that each score is taken from; of a short training fewer
_LOOKED_AT = 16  # pictures from which a detector's normalisation is found again
_OTHER_SEED = 1 << 32  # beyond it lie the pictures that scores are taken from


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
            begin_with(model, self._weights, pictures, looked_at(samples, pictures.device)[0])
        return model

    def matrices(self, model: torch.nn.Module) -> list[torch.nn.Parameter]:
        """All convolutions but the first ones, which look at pixels, and the last ones, which answer."""
        named = [(name, each) for name, each in model.named_parameters() if each.dim() > 1]
        return [each for name, each in named if "stem." not in name and not name.endswith("places.weight")]

    def losses(self, model: torch.nn.Module, batch: Sequence[Sample], device: torch.device) -> dict[str, Tensor]:
        assert isinstance(model, PlateDetector)
        side = batch[0].pixels.shape[0]
        things = [each.things for each in batch]
        targets = [make_target(kind, things, side, STRIDES[kind]).to(device) for kind in range(len(KINDS))]
        found = losses(model.maps(normalised([each.pixels for each in batch], device)), targets)
        seen, classes = looked_at(batch, device)
        return found | {"characters_class": misread(model.reader.said(seen), classes)} if len(classes) else found

    def scores(self, model: torch.nn.Module, device: torch.device) -> dict[str, float]:
        """The share of plates read right, of those that can be read, among pictures that are never trained with."""
        measure = Measure()
        with torch.inference_mode():
            for start in range(0, len(self._scored), BATCH):
                samples = self._scored[start : start + BATCH]
                outputs = model(normalised([each.pixels for each in samples], device))
                measure.add([each.float().cpu().numpy() for each in outputs], samples)
        return measure.scores()

    def unseen(self) -> Iterator[tuple[Tensor, Sequence[Sample]]]:
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
        return replace(self._drawn, seed=self._recipe.seed + _OTHER_SEED, backgrounds=self._plain)

    @cached_property
    def _scored(self) -> list[Sample]:
        return [self._others.draw(index) for index in range(self._count)]


def looked_at(samples: Sequence[Sample], device: torch.device) -> tuple[Tensor, Tensor]:
    """The looks of all samples: what the reader sees of them, [m, 3, 32, 32], and their classes, [m]."""
    seen = [torch.zeros(0, len(IMAGENET_MEAN), SIDE, SIDE, device=device)]
    for each in samples:
        if len(each.looks):
            picture, boxes = (torch.from_numpy(values).to(device) for values in (each.pixels, each.looks[:, :4]))
            seen.append(cut_out(picture.permute(2, 0, 1)[None], boxes[None]))
    return torch.cat(seen), torch.from_numpy(np.concatenate([each.looks[:, 4] for each in samples])).long().to(device)


def normalised(pictures: Sequence[NDArray[np.uint8]], device: torch.device) -> Tensor:
    """Pixels [side, side, 3] each -> float32 [batch, 3, side, side], as partition.capture.Pixels has them."""
    pixels = torch.from_numpy(np.stack(pictures)).to(device).permute(0, 3, 1, 2)
    mean, std = (torch.tensor(each, device=device).view(1, 3, 1, 1) for each in (IMAGENET_MEAN, IMAGENET_STD))
    return (pixels.to(torch.float32) / 255 - mean) / std
