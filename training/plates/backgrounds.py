"""Background photographs: random crops of files that are read when they are needed."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from shardline.wire.errors import DatasetError

_CACHED = 32  # photographs in memory
_LARGEST_CACHED = 1536  # pixels of the longer side of a photograph that is kept in memory: about 5 MiB each
_LEAST_SIDE = 640
_LEAST_SHARE = 0.35  # of a photograph's shorter side, that a crop shows
_HELD_OUT_OF = 3  # one photograph in three is held out


@dataclass(frozen=True, slots=True, kw_only=True)
class Backgrounds:
    """Files of photographs, all equally likely.

    Raises:
        DatasetError: none is given.
    """

    files: tuple[Path, ...]

    def __post_init__(self) -> None:
        if not self.files:
            raise DatasetError(
                "plates are drawn onto photographs, and none is given: name a folder that holds pictures"
            )

    def crop(self, random: np.random.Generator, size: tuple[int, int]) -> tuple[Image.Image, str]:
        """A random crop of a photograph in the size (width, height), RGB, perhaps mirrored, and its file's name.

        Raises:
            DatasetError: a file cannot be read as a picture.
        """
        file = self.files[random.integers(0, len(self.files))]
        photo = load(file, max(_LEAST_SIDE, 2 * max(size)))
        box = _crop_box(random, photo.size, size)
        crop = photo.resize(size, Image.Resampling.BILINEAR, box, reducing_gap=2.0)
        return (ImageOps.mirror(crop) if random.random() < 0.5 else crop), file.name


def split(files: Sequence[Path], *, held_out: bool) -> tuple[Path, ...]:
    """The photographs to train with, or the third that is held out; a file's name alone decides."""
    return tuple(file for file in files if _is_held_out(file.name) == held_out)


def load(file: Path, side: int) -> Image.Image:
    """Read a photograph upright, RGB, its longer side at most `side` pixels.

    Raises:
        DatasetError: the file cannot be read as a picture.
    """
    return _cached(file, side) if side <= _LARGEST_CACHED else _read(file, side)


@lru_cache(maxsize=_CACHED)
def _cached(file: Path, side: int) -> Image.Image:
    return _read(file, side)


def _read(file: Path, side: int) -> Image.Image:
    try:
        with Image.open(file) as opened:
            opened.draft("RGB", (side, side))
            upright = ImageOps.exif_transpose(opened).convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as exc:
        raise DatasetError(f"{file} cannot be read as a picture ({exc}): take it out of the folder") from exc
    upright.thumbnail((side, side), Image.Resampling.BILINEAR, reducing_gap=2.0)
    return upright


def _crop_box(
    random: np.random.Generator, photo: tuple[int, int], size: tuple[int, int]
) -> tuple[float, float, float, float]:
    """A random box in the photograph, with the proportions of `size` up to a tenth."""
    aspect = size[0] / size[1] * random.uniform(0.9, 1.1)
    width = min(photo[0], photo[1] * aspect)
    share = random.uniform(_LEAST_SHARE, 1.0)
    width, height = width * share, width / aspect * share
    left, top = random.uniform(0, photo[0] - width), random.uniform(0, photo[1] - height)
    return left, top, left + width, top + height


def _is_held_out(name: str) -> bool:
    return int(hashlib.sha256(name.encode()).hexdigest(), 16) % _HELD_OUT_OF == 0
