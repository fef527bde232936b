"""The training of an embedding: batches of digits, moved a little, and how often the nearest one is of the same class.

A share of the pictures is never learned from: scores are taken with it. The test pictures are not looked at.
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from shardline.training.embedding.loss import contrastive
from shardline.training.embedding.mnist import Digits, as_pixels, read_digits
from shardline.training.embedding.model import MEAN, SIDE, STD, EmbeddingNet
from shardline.wire.errors import ModelError

_HELD_OUT = 12  # every so many-th picture
_KNOWN = 5000  # pictures that scores look for the nearest among
_CHUNK = 500
_MOVED = 2  # pixels, at most, in each direction


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """All that decides the weights, beside the rate.

    Raises:
        ModelError: not even one batch.
    """

    seed: int = 0
    pictures: int = 240_000
    batch: int = 256

    def __post_init__(self) -> None:
        if self.batch < 2 or self.pictures < self.batch:
            raise ModelError(
                f"--pictures {self.pictures} in batches of {self.batch}: a batch has at least two, and there is one"
            )


class Batch(NamedTuple):
    pixels: NDArray[np.uint8]  # [batch, 3, SIDE, SIDE]
    classes: NDArray[np.int64]  # [batch]


@dataclass(frozen=True, slots=True, kw_only=True)
class Draw:
    """A step's number -> its batch: pictures by lot, each moved by up to two pixels."""

    data: Path
    seed: int
    batch: int

    def __call__(self, step: int) -> Batch:
        digits = learned(self.data)
        random = np.random.default_rng((self.seed, step))
        places = random.choice(len(digits.labels), self.batch, replace=self.batch > len(digits.labels))
        ready = np.pad(digits.pictures[places], ((0, 0), (_MOVED, _MOVED), (_MOVED, _MOVED)))
        moves = random.integers(0, 2 * _MOVED + 1, (self.batch, 2))
        moved = [
            each[down : down + SIDE, right : right + SIDE] for each, (down, right) in zip(ready, moves, strict=True)
        ]
        return Batch(as_pixels(np.stack(moved)), digits.labels[places].astype(np.int64))


class EmbeddingCourse:
    """A fit.Course on the training pictures of the MNIST files in `data`."""

    def __init__(self, recipe: Recipe, data: Path) -> None:
        if (found := read_digits(data, "train").pictures.shape[1:]) != (SIDE, SIDE):
            raise ModelError(f"{data} holds pictures of {found[0]} x {found[1]} pixels; allowed are {SIDE} x {SIDE}")
        self._recipe = recipe
        self._data = data
        self.steps = recipe.pictures // recipe.batch
        self.draw = Draw(data=data, seed=recipe.seed, batch=recipe.batch)

    def pictures(self, step: int) -> int:
        return step * self._recipe.batch

    def model(self) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self._recipe.seed)
            return EmbeddingNet()

    def matrices(self, model: nn.Module) -> list[nn.Parameter]:
        """The convolutions but the first, which looks at pixels."""
        named = [(name, each) for name, each in model.named_parameters() if each.dim() == 4]
        return [each for name, each in named if not name.startswith("blocks.0.")]

    def losses(self, model: nn.Module, batch: Batch, device: torch.device) -> dict[str, Tensor]:
        classes = torch.from_numpy(batch.classes).to(device)
        return {"contrast": contrastive(model(_normalised(batch.pixels, device)), classes)}

    def scores(self, model: nn.Module, device: torch.device) -> dict[str, float]:
        """The share of held-out pictures whose nearest neighbour, by angle, is of the same class."""
        known, asked = learned(self._data), held_out(self._data)
        there = _directions(model, known.pictures[:_KNOWN], device)
        looked_for = _directions(model, asked.pictures, device)
        nearest = torch.cat([(each @ there.T).argmax(1) for each in torch.split(looked_for, _CHUNK)]).cpu().numpy()
        return {"score": float((known.labels[nearest] == asked.labels).mean())}


@lru_cache(maxsize=2)
def learned(data: Path) -> Digits:
    """The training pictures that are learned from."""
    digits = read_digits(data, "train")
    kept = np.arange(len(digits.labels)) % _HELD_OUT > 0
    return Digits(pictures=digits.pictures[kept], labels=digits.labels[kept])


@lru_cache(maxsize=2)
def held_out(data: Path) -> Digits:
    """Those that scores are taken with."""
    digits = read_digits(data, "train")
    return Digits(pictures=digits.pictures[::_HELD_OUT], labels=digits.labels[::_HELD_OUT])


def _directions(model: nn.Module, pictures: NDArray[np.uint8], device: torch.device) -> Tensor:
    """Grey [n, SIDE, SIDE] -> [n, width], of length 1."""
    with torch.inference_mode():
        parts = [
            model(_normalised(as_pixels(pictures[start : start + _CHUNK]), device)).float()
            for start in range(0, len(pictures), _CHUNK)
        ]
        return nn.functional.normalize(torch.cat(parts), dim=1)


def _normalised(pixels: NDArray[np.uint8], device: torch.device) -> Tensor:
    """uint8 [batch, 3, side, side] -> float32, as shardline.partition.capture.Pixels has them."""
    mean, std = (torch.tensor(each, device=device).view(1, 3, 1, 1) for each in (MEAN, STD))
    return (torch.from_numpy(pixels).to(device).to(torch.float32) / 255 - mean) / std
