"""Photographs that plates are drawn onto: any files, read when they are needed, a part of one at a time."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from shardline.wire.errors import ModelError

_KEPT = 32  # photographs in memory …
_LARGEST_KEPT = 1536  # … where their longer side is no longer than this: some 5 MB each
_LEAST_SIDE = 640
_LEAST_SHARE = 0.35  # of a photograph's shorter side, that a part shows
_HELD_OUT_OF = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Backgrounds:
    """Files of photographs. Every one is as likely as every other.

    Raises:
        ModelError: none is given.
    """

    files: tuple[Path, ...]

    def __post_init__(self) -> None:
        if not self.files:
            raise ModelError("plates are drawn onto photographs, and none is given: name a folder that holds pictures")

    def part(self, random: np.random.Generator, size: tuple[int, int]) -> tuple[Image.Image, str]:
        """A part of a photograph in the size (width, height), RGB, perhaps mirrored, and its file's name.

        Raises:
            ModelError: a file cannot be read as a picture.
        """
        file = self.files[random.integers(0, len(self.files))]
        photo = load(file, max(_LEAST_SIDE, 2 * max(size)))
        box = _crop(random, photo.size, size)
        part = photo.resize(size, Image.Resampling.BILINEAR, box, reducing_gap=2.0)
        return (ImageOps.mirror(part) if random.random() < 0.5 else part), file.name


def split(files: Sequence[Path], *, held_out: bool) -> tuple[Path, ...]:
    """The photographs to train with, or the third that is held out; which one a file is follows from its name alone."""
    return tuple(each for each in files if _is_held_out(each.name) == held_out)


def load(file: Path, side: int) -> Image.Image:
    """A photograph upright, RGB, its longer side at most `side`.

    Raises:
        ModelError: the file cannot be read as a picture.
    """
    return _kept(file, side) if side <= _LARGEST_KEPT else _read(file, side)


@lru_cache(maxsize=_KEPT)
def _kept(file: Path, side: int) -> Image.Image:
    return _read(file, side)


def _read(file: Path, side: int) -> Image.Image:
    try:
        with Image.open(file) as opened:
            opened.draft("RGB", (side, side))
            upright = ImageOps.exif_transpose(opened).convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as exc:
        raise ModelError(f"{file} cannot be read as a picture ({exc}): take it out of the folder") from exc
    upright.thumbnail((side, side), Image.Resampling.BILINEAR, reducing_gap=2.0)
    return upright


def _crop(
    random: np.random.Generator, photo: tuple[int, int], size: tuple[int, int]
) -> tuple[float, float, float, float]:
    """A box in the photograph with the proportions of `size`, give or take a tenth."""
    aspect = size[0] / size[1] * random.uniform(0.9, 1.1)
    width = min(photo[0], photo[1] * aspect)
    share = random.uniform(_LEAST_SHARE, 1.0)
    width, height = width * share, width / aspect * share
    left, top = random.uniform(0, photo[0] - width), random.uniform(0, photo[1] - height)
    return left, top, left + width, top + height


def _is_held_out(name: str) -> bool:
    return int(hashlib.sha256(name.encode()).hexdigest(), 16) % _HELD_OUT_OF == 0
