"""Augmented batches of a classifier's training; a batch follows from the seed and its number alone.

Each epoch goes through all pictures in an order of its own. A picture is decoded by the code that decodes it when the
classifier is served, then randomly cropped, mirrored, rotated and recoloured. Without torch: the worker processes start
fast.
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
from shardline.training.folder import LabelledSplit, training_and_validation
from shardline.wire.errors import DatasetError, PictureError

Pixels = NDArray[np.uint8]
OpenPicture = Callable[[bytes], Image.Image]  # an encoded picture -> RGB, upright; picklable

_INTERPOLATIONS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
_LOG_ASPECT = math.log(4 / 3)  # largest change of a crop's proportions, as in torchvision's RandomResizedCrop
# red, green, blue -> luma (ITU-R 601) and two axes of colour (NTSC's I and Q), about whose origin hues turn
_YIQ = np.array(((0.299, 0.587, 0.114), (0.596, -0.274, -0.322), (0.211, -0.523, 0.312)))
_LARGEST_HUE = math.pi / 2  # rotation of the hue at jitter 1
_ORDERS, _PICTURES, _BATCHES = 0, 1, 2  # purposes that random numbers of a seed serve, each with a stream of its own


@dataclass(frozen=True, slots=True, kw_only=True)
class Augmentation:
    """Random changes of the pictures."""

    crop: float  # smallest share of a picture that is kept; 1: nothing is cropped
    flip: bool  # mirror every other picture
    turn: float  # largest rotation in degrees
    jitter: float  # largest change of brightness, contrast, saturation and hue, as a share
    mix: float  # share of batches in which a box of each picture is replaced by another's (CutMix)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassifierBatch:
    """Pictures and their classes: picture i shows `share` of classes[i], and the rest of others[i]."""

    pixels: Pixels  # [batch, height, width, 3]
    classes: NDArray[np.int64]  # [batch]
    others: NDArray[np.int64]  # [batch]
    share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassifierBatches:
    """The batches of a training by number. Small and picklable: each process lists the folder once for itself."""

    folder: Path
    held_out: float
    seed: int
    size: int  # pictures in a batch
    spec: PictureSpec  # of served pictures
    augmentation: Augmentation
    open_picture: OpenPicture

    def __call__(self, step: int) -> ClassifierBatch:
        """Draw the batch of a step.

        Raises:
            DatasetError: a picture cannot be opened.
        """
        training, _ = training_and_validation(self.folder, self.held_out, self.seed)
        numbers = range(step * self.size, (step + 1) * self.size)
        indexes = [self._index(number, len(training.files)) for number in numbers]
        pixels = np.stack([self._draw(training, index, n) for index, n in zip(indexes, numbers, strict=True)])
        classes = np.array([training.classes[index] for index in indexes], np.int64)
        return self._mixed(pixels, classes, step)

    def _index(self, number: int, count: int) -> int:
        """The index of the picture that comes as `number` when all epochs are strung together."""
        epoch, position = divmod(number, count)
        return int(_order(self.seed, epoch, count)[position])

    def _draw(self, training: LabelledSplit, index: int, number: int) -> Pixels:
        path = training.files[index]
        try:
            image = self.open_picture(path.read_bytes())
        except (OSError, PictureError) as exc:
            raise DatasetError(f"{path} cannot be opened ({exc}): remove or replace it") from exc
        return augment(image, np.random.default_rng((self.seed, _PICTURES, number)), self.spec, self.augmentation)

    def _mixed(self, pixels: Pixels, classes: NDArray[np.int64], step: int) -> ClassifierBatch:
        """Replace a box of each picture by another's in some of the batches (CutMix: Yun et al., 2019)."""
        random = np.random.default_rng((self.seed, _BATCHES, step))
        if random.random() >= self.augmentation.mix:
            return ClassifierBatch(pixels=pixels, classes=classes, others=classes, share=1.0)
        order = random.permutation(len(classes))
        left, top, right, bottom = _random_box(random, self.spec.width, self.spec.height)
        mixed = pixels.copy()
        mixed[:, top:bottom, left:right] = pixels[order, top:bottom, left:right]
        share = 1 - (right - left) * (bottom - top) / (self.spec.width * self.spec.height)
        return ClassifierBatch(pixels=mixed, classes=classes, others=classes[order], share=share)


def augment(image: Image.Image, random: np.random.Generator, spec: PictureSpec, augmentation: Augmentation) -> Pixels:
    """Crop, mirror, rotate and recolour an RGB picture at random -> uint8 [height, width, 3]."""
    box = _random_crop(random, image.size, spec, augmentation.crop)
    crop = image.resize((spec.width, spec.height), _INTERPOLATIONS[spec.interpolation], box=box)
    pixels = np.asarray(crop)
    if augmentation.flip and random.random() < 0.5:
        pixels = pixels[:, ::-1]
    if augmentation.turn:
        pixels = _rotate(random, pixels, augmentation.turn)
    return _jitter(random, pixels, augmentation.jitter) if augmentation.jitter else np.ascontiguousarray(pixels)


def _random_crop(
    random: np.random.Generator, size: tuple[int, int], spec: PictureSpec, least: float
) -> tuple[float, float, float, float]:
    """A crop's left, top, right, bottom in a picture of this size (width, height).

    It lies within the largest box of the proportions that the classifier is served with (where pictures are stretched,
    the picture's own), has at least the share `least` of its area, and is a little wider or higher where there is room.
    """
    width, height = size
    aspect = width / height if spec.fit == "stretch" else spec.width / spec.height
    widest, highest = min(width, height * aspect), min(height, width / aspect)
    share = random.uniform(least, 1)
    most = min(_LOG_ASPECT, -math.log(share)) / 2
    wider = math.exp(most * random.uniform(-1, 1))
    across, down = widest * math.sqrt(share) * wider, highest * math.sqrt(share) / wider
    left, top = random.uniform(0, max(0, width - across)), random.uniform(0, max(0, height - down))
    return left, top, min(left + across, width), min(top + down, height)


def _rotate(random: np.random.Generator, pixels: Pixels, most_deg: float) -> Pixels:
    """Rotate about the middle; the corners are filled with the picture's mean colour."""
    angle = float(random.uniform(-most_deg, most_deg))
    mean = tuple(pixels.reshape(-1, 3).mean(0).round().astype(int).tolist())
    return np.asarray(Image.fromarray(pixels).rotate(angle, Image.Resampling.BILINEAR, fillcolor=mean))


def _jitter(random: np.random.Generator, pixels: Pixels, most: float) -> Pixels:
    """Change brightness, contrast, saturation and hue; all but contrast at once, by a 3 × 3 matrix on colours.

    In the share `most` / 2 of pictures no colour is left: what an object is seldom depends on it.
    """
    brightness, contrast, saturation = random.uniform(1 - most, 1 + most, 3)
    if random.random() < most / 2:
        saturation = 0.0
    hue = random.uniform(-most, most) * _LARGEST_HUE
    along, across = saturation * math.cos(hue), saturation * math.sin(hue)
    # to YIQ, rotate and scale the two axes of colour, and back
    matrix = np.linalg.inv(_YIQ) @ np.array(((1, 0, 0), (0, along, -across), (0, across, along))) @ _YIQ
    coloured = pixels @ (brightness * contrast * matrix.T).astype(np.float32)  # [height, width, 3]
    middle = brightness * (pixels.reshape(-1, 3).mean(0) @ _YIQ[0])  # mean luma: contrast is about it
    found: Pixels = np.clip(coloured + np.float32((1 - contrast) * middle + 0.5), 0, 255).astype(np.uint8)
    return found


def _random_box(random: np.random.Generator, width: int, height: int) -> tuple[int, int, int, int]:
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
