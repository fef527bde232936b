"""What a classifier learns from: batch i of a seed, always the same one, whoever draws it.

Each epoch goes through all pictures in an order of its own. A picture is opened by the code that opens it when the
classifier is served, cut, mirrored and recoloured by lot. Without torch: the processes that draw start fast.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from shardline.storage.bundle import PictureSpec
from shardline.training.folder import Labelled, learnt_and_held_out
from shardline.wire.errors import ModelError, PictureError

Pixels = NDArray[np.uint8]
Opened = Callable[[bytes], Image.Image]  # an encoded picture -> RGB, upright; picklable

_INTERPOLATIONS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
_WIDER = math.log(4 / 3)  # of a cut's proportions, at most, as torchvision's RandomResizedCrop has it
# red, green, blue -> luma (ITU-R 601) and two axes of colour (NTSC's I and Q), about whose origin hues turn
_YIQ = np.array(((0.299, 0.587, 0.114), (0.596, -0.274, -0.322), (0.211, -0.523, 0.312)))
_MOST_HUE = math.pi / 2  # turned where colours change by all of themselves
_ORDERS, _PICTURES, _BATCHES = 0, 1, 2  # what a seed's numbers are for


@dataclass(frozen=True, slots=True, kw_only=True)
class Altering:
    """How a picture is altered each time."""

    crop: float  # least share of it that is cut out; 1: nothing is cut off
    flip: bool  # mirrored every other time
    turn: float  # degrees at most
    jitter: float  # brightness, contrast, saturation and hue change by this share at most
    mix: float  # share of batches in which each picture has a part of another pasted in


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """`pixels` is uint8 [batch, side, side, 3]; picture i shows `share` of classes[i], the rest of others[i]."""

    pixels: Pixels
    classes: NDArray[np.int64]
    others: NDArray[np.int64]
    share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Batches:
    """Batch i of a training. It can be pickled, and stays small: each process lists the folder once for itself."""

    folder: Path
    held_out: float
    seed: int
    size: int  # pictures in a batch
    spec: PictureSpec  # how pictures are served
    altering: Altering
    opened: Opened

    def __call__(self, step: int) -> Batch:
        """
        Raises:
            ModelError: a picture that cannot be opened.
        """
        learnt, _ = learnt_and_held_out(self.folder, self.held_out, self.seed)
        numbers = range(step * self.size, (step + 1) * self.size)
        places = [self._place(number, len(learnt.files)) for number in numbers]
        pixels = np.stack([self._draw(learnt, at, number) for at, number in zip(places, numbers, strict=True)])
        classes = np.array([learnt.classes[at] for at in places], np.int64)
        return self._mixed(pixels, classes, step)

    def _place(self, number: int, count: int) -> int:
        """Which picture is number `number` of all epochs one after the other."""
        epoch, at = divmod(number, count)
        return int(_order(self.seed, epoch, count)[at])

    def _draw(self, learnt: Labelled, at: int, number: int) -> Pixels:
        path = learnt.files[at]
        try:
            image = self.opened(path.read_bytes())
        except (OSError, PictureError) as exc:
            raise ModelError(f"{path} cannot be opened ({exc}): remove or replace it") from exc
        return altered(image, np.random.default_rng((self.seed, _PICTURES, number)), self.spec, self.altering)

    def _mixed(self, pixels: Pixels, classes: NDArray[np.int64], step: int) -> Batch:
        """Now and then, a part of each picture is another's (CutMix: Yun et al., 2019)."""
        random = np.random.default_rng((self.seed, _BATCHES, step))
        if random.random() >= self.altering.mix:
            return Batch(pixels=pixels, classes=classes, others=classes, share=1.0)
        order = random.permutation(len(classes))
        left, top, right, bottom = _part(random, self.spec.width, self.spec.height)
        mixed = pixels.copy()
        mixed[:, top:bottom, left:right] = pixels[order, top:bottom, left:right]
        share = 1 - (right - left) * (bottom - top) / (self.spec.width * self.spec.height)
        return Batch(pixels=mixed, classes=classes, others=classes[order], share=share)


def altered(image: Image.Image, random: np.random.Generator, spec: PictureSpec, altering: Altering) -> Pixels:
    """A part of an RGB picture by lot, mirrored, turned and recoloured -> uint8 [height, width, 3]."""
    box = _cut(random, image.size, spec, altering.crop)
    part = image.resize((spec.width, spec.height), _INTERPOLATIONS[spec.interpolation], box=box)
    pixels = np.asarray(part)
    if altering.flip and random.random() < 0.5:
        pixels = pixels[:, ::-1]
    if altering.turn:
        pixels = _turned(random, pixels, altering.turn)
    return _recoloured(random, pixels, altering.jitter) if altering.jitter else np.ascontiguousarray(pixels)


def _cut(
    random: np.random.Generator, size: tuple[int, int], spec: PictureSpec, least: float
) -> tuple[float, float, float, float]:
    """A part of the largest box of the proportions that the classifier is served with (where pictures are stretched,
    the picture's own): at least the share `least` of its area, a bit wider or higher where there is room for it.
    """
    width, height = size
    usual = width / height if spec.fit == "stretch" else spec.width / spec.height
    widest, highest = min(width, height * usual), min(height, width / usual)
    share = random.uniform(least, 1)
    most = min(_WIDER, -math.log(share)) / 2
    wider = math.exp(most * random.uniform(-1, 1))
    across, down = widest * math.sqrt(share) * wider, highest * math.sqrt(share) / wider
    left, top = random.uniform(0, max(0, width - across)), random.uniform(0, max(0, height - down))
    return left, top, min(left + across, width), min(top + down, height)


def _turned(random: np.random.Generator, pixels: Pixels, most_deg: float) -> Pixels:
    """Turned about the middle; what comes in at the corners has the picture's mean colour."""
    angle = float(random.uniform(-most_deg, most_deg))
    mean = tuple(pixels.reshape(-1, 3).mean(0).round().astype(int).tolist())
    return np.asarray(Image.fromarray(pixels).rotate(angle, Image.Resampling.BILINEAR, fillcolor=mean))


def _recoloured(random: np.random.Generator, pixels: Pixels, most: float) -> Pixels:
    """Brightness, contrast, saturation and hue changed: all but contrast at once, by a matrix on colours.

    In half the share `most` of pictures no colour is left: what a thing is seldom depends on it.
    """
    brightness, contrast, saturation = random.uniform(1 - most, 1 + most, 3)
    if random.random() < most / 2:
        saturation = 0.0
    hue = random.uniform(-most, most) * _MOST_HUE
    along, across = saturation * math.cos(hue), saturation * math.sin(hue)
    matrix = np.linalg.inv(_YIQ) @ np.array(((1, 0, 0), (0, along, -across), (0, across, along))) @ _YIQ
    coloured = pixels @ (brightness * contrast * matrix.T).astype(np.float32)
    middle = brightness * (pixels.reshape(-1, 3).mean(0) @ _YIQ[0])
    found: Pixels = np.clip(coloured + np.float32((1 - contrast) * middle + 0.5), 0, 255).astype(np.uint8)
    return found


def _part(random: np.random.Generator, width: int, height: int) -> tuple[int, int, int, int]:
    """A box of the picture's proportions that covers any share of it, with its middle anywhere, cut at the borders."""
    side = math.sqrt(random.random()) / 2
    x, y = random.uniform(0, width), random.uniform(0, height)
    across, down = side * width, side * height
    return (
        round(max(0, x - across)),
        round(max(0, y - down)),
        round(min(width, x + across)),
        round(min(height, y + down)),
    )


@lru_cache(maxsize=4)
def _order(seed: int, epoch: int, count: int) -> NDArray[np.int64]:
    return np.random.default_rng((seed, _ORDERS, epoch)).permutation(count)
