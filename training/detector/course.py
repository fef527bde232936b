"""The detector's training: first small pictures full of plates, then whole views at the size that is served.

A crop of 256 pixels with several plates teaches most of what there is to learn at a quarter of a view's cost; the views
at the end teach what is left: plates as wide as the picture, the letter-box, and large pictures with little in them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from partition.models import IMAGENET_MEAN, IMAGENET_STD
from training.detector.backdrops import Backdrops
from training.detector.data import CROPS, KINDS, VIEWS, Batches, Pictures, Sample
from training.detector.loss import losses
from training.detector.measure import Measure
from training.detector.model import LARGEST_STRIDE, STRIDES, PlateDetector
from training.detector.targets import make_target
from training.plates.backgrounds import Backgrounds
from training.plates.fonts import families
from wire.errors import ModelError

_SCORED = 200  # pictures that each score is taken from; of a short training fewer
_OTHER_SEED = 1 << 32  # beyond it lie the pictures that scores are taken from


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """All that decides the weights, beside the code, fit.Settings and the number of threads.

    Raises:
        ModelError: a size or share that no picture can have.
    """

    seed: int = 0
    pictures: int = 36_000
    views: float = 0.08  # share of the pictures that are whole views, the last ones
    size: int = 512  # of views, pixels a side; crops have half of it

    def __post_init__(self) -> None:
        if self.size % (2 * LARGEST_STRIDE) or self.size < 4 * LARGEST_STRIDE:
            raise ModelError(f"--size {self.size}: allowed are multiples of {2 * LARGEST_STRIDE} from 128 on, e.g. 512")
        if not 0 <= self.views <= 1 or self.pictures < CROPS:
            raise ModelError(f"--views {self.views:g} of --pictures {self.pictures}: allowed are 0 to 1 of 8 or more")


class DetectorCourse:
    """A fit.Course. Only fonts to train with are drawn, on photographs of `files`."""

    def __init__(self, recipe: Recipe, files: Sequence[Path]) -> None:
        views = round(recipe.views * recipe.pictures / VIEWS)
        crops = (recipe.pictures - views * VIEWS) // CROPS
        photographs = tuple(files)
        self._recipe = recipe
        self._fonts = families("train")
        self._plain = Backgrounds(files=photographs)
        pictures = Pictures(seed=recipe.seed, fonts=self._fonts, backgrounds=Backdrops(files=photographs))
        self.steps = crops + views
        self.draw = Batches(pictures=pictures, crops=crops, size=recipe.size)

    def pictures(self, step: int) -> int:
        crops = min(step, self.draw.crops)
        return crops * CROPS + (step - crops) * VIEWS

    def model(self) -> PlateDetector:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self._recipe.seed)
            return PlateDetector(normed=True)

    def matrices(self, model: torch.nn.Module) -> list[torch.nn.Parameter]:
        """All convolutions but the first, which looks at pixels, and the last of each head, which answer."""
        named = [(name, each) for name, each in model.named_parameters() if each.dim() > 1]
        return [each for name, each in named if not name.startswith("stem.") and not name.endswith("places.weight")]

    def losses(self, model: torch.nn.Module, batch: Sequence[Sample], device: torch.device) -> dict[str, Tensor]:
        assert isinstance(model, PlateDetector)
        side = batch[0].pixels.shape[0]
        things = [each.things for each in batch]
        targets = [make_target(kind, things, side, STRIDES[kind]).to(device) for kind in range(len(KINDS))]
        return losses(model.maps(normalised([each.pixels for each in batch], device)), targets)

    def scores(self, model: torch.nn.Module, device: torch.device) -> dict[str, float]:
        """The share of plates read right, of those that can be read, among pictures that are never trained with."""
        measure = Measure()
        with torch.inference_mode():
            for start in range(0, len(self._scored), CROPS):
                samples = self._scored[start : start + CROPS]
                outputs = model(normalised([each.pixels for each in samples], device))
                measure.add([each.float().cpu().numpy() for each in outputs], samples)
        return measure.scores()

    def unseen(self) -> Iterator[tuple[Tensor, Sequence[Sample]]]:
        """Whole views that are never trained with, by the batch, on the CPU: what scores are calibrated with."""
        others = Pictures(seed=self._recipe.seed + _OTHER_SEED, fonts=self._fonts, backgrounds=self._plain)
        for start in range(0, min(_SCORED, self._recipe.pictures // 4), VIEWS):
            samples = [others.draw("views", self._recipe.size, start + index) for index in range(VIEWS)]
            yield normalised([each.pixels for each in samples], torch.device("cpu")), samples

    @cached_property
    def _scored(self) -> list[Sample]:
        others = Pictures(seed=self._recipe.seed + _OTHER_SEED, fonts=self._fonts, backgrounds=self._plain)
        count = min(_SCORED, self._recipe.pictures // 4)
        return [others.draw("crops", self._recipe.size // 2, index) for index in range(count)]


def normalised(pictures: Sequence[NDArray[np.uint8]], device: torch.device) -> Tensor:
    """Pixels [side, side, 3] each -> float32 [batch, 3, side, side], as partition.capture.Pixels has them."""
    pixels = torch.from_numpy(np.stack(pictures)).to(device).permute(0, 3, 1, 2)
    mean, std = (torch.tensor(each, device=device).view(1, 3, 1, 1) for each in (IMAGENET_MEAN, IMAGENET_STD))
    return (pixels.to(torch.float32) / 255 - mean) / std
