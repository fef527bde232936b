"""MNIST's files: grey pictures and labels in IDX, gzipped, in a folder under their usual names.

The format is Yann LeCun's: a zero, a zero, 8 for bytes, the number of dimensions, each dimension in four bytes with the
highest first, then the values. Without torch: the process that draws batches starts fast.
"""

import gzip
import zlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from shardline.wire.errors import ModelError

Part = Literal["train", "test"]

_NAMES: dict[Part, str] = {"train": "train", "test": "t10k"}
_MOST_BYTES = 256 * 1024**2  # of one unpacked file; MNIST's largest has 47 MB
_BYTES = 8  # the code of unsigned bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Digits:
    """`pictures` uint8 [n, height, width], 0 is the ground; `labels` uint8 [n]."""

    pictures: NDArray[np.uint8]
    labels: NDArray[np.uint8]


def is_mnist(folder: Path) -> bool:
    return any((folder / f"{name}-images-idx3-ubyte.gz").is_file() for name in _NAMES.values())


@lru_cache(maxsize=2)
def read_digits(folder: Path, part: Part) -> Digits:
    """The pictures of one part, in their order; read once.

    Raises:
        ModelError: a file is missing, damaged, or they do not belong together.
    """
    pictures = _read(folder / f"{_NAMES[part]}-images-idx3-ubyte.gz", dimensions=3)
    labels = _read(folder / f"{_NAMES[part]}-labels-idx1-ubyte.gz", dimensions=1)
    if len(pictures) != len(labels) or not len(labels):
        raise ModelError(f"{folder} has {len(pictures)} pictures and {len(labels)} labels of the part {part}")
    return Digits(pictures=pictures, labels=labels)


def digit_name(part: Part, place: int) -> str:
    """What a picture is called, which has no name of its own: such as train/00042."""
    return f"{part}/{place:05}"


def as_pixels(pictures: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Grey [n, height, width] -> [n, 3, height, width], as a transformer has them of a grey PNG."""
    return np.repeat(pictures[:, None], 3, axis=1)


def _read(path: Path, dimensions: int) -> NDArray[np.uint8]:
    try:
        with gzip.open(path) as file:
            data = file.read(_MOST_BYTES)
    except (OSError, EOFError, zlib.error) as exc:
        raise ModelError(
            f"{path} cannot be read ({exc}): the folder must hold MNIST's four idx-ubyte.gz files"
        ) from exc
    start = 4 + 4 * dimensions
    if data[:4] != bytes((0, 0, _BYTES, dimensions)) or len(data) < start:
        raise ModelError(f"{path} begins with {data[:4].hex()}; an IDX file of bytes in {dimensions} dimensions is due")
    shape = np.frombuffer(data, ">u4", count=dimensions, offset=4).tolist()
    values = np.frombuffer(data, np.uint8, offset=start)
    if len(values) != int(np.prod(shape)):
        raise ModelError(f"{path} says that it has the shape {shape}, and holds {len(values)} values")
    return values.reshape(shape)
