"""Reader of MNIST's files: grey pictures and labels in gzipped IDX files, in a folder under their usual names.

The format is Yann LeCun's: two zero bytes, 8 for unsigned bytes, the number of dimensions, each dimension as a
big-endian uint32, then the values.
"""

import gzip
import zlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from shardline.wire.errors import DatasetError
from shardline.wire.limits import MIB

Split = Literal["train", "test"]

_NAMES: dict[Split, str] = {"train": "train", "test": "t10k"}
_MOST_BYTES = 256 * MIB  # of one unpacked file; MNIST's largest has 45 MiB
_BYTES = 8  # the code of unsigned bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Digits:
    """Pictures, uint8 [n, height, width] with 0 as the background, and labels, uint8 [n]."""

    pictures: NDArray[np.uint8]
    labels: NDArray[np.uint8]


def is_mnist(folder: Path) -> bool:
    """Tell whether a folder holds MNIST's files."""
    return any((folder / f"{name}-images-idx3-ubyte.gz").is_file() for name in _NAMES.values())


@lru_cache(maxsize=2)
def read_digits(folder: Path, split: Split) -> Digits:
    """The digits of one split, in their order; read once.

    Raises:
        DatasetError: a file is missing or damaged, or pictures and labels do not belong together.
    """
    pictures = _read(folder / f"{_NAMES[split]}-images-idx3-ubyte.gz", dimensions=3)
    labels = _read(folder / f"{_NAMES[split]}-labels-idx1-ubyte.gz", dimensions=1)
    if len(pictures) != len(labels) or not len(labels):
        raise DatasetError(f"{folder} has {len(pictures)} pictures and {len(labels)} labels in the split {split}")
    return Digits(pictures=pictures, labels=labels)


def digit_name(split: Split, number: int) -> str:
    """The name that is given to a digit, such as train/00042."""
    return f"{split}/{number:05}"


def as_pixels(pictures: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Grey uint8 [n, height, width] -> uint8 [n, 3, height, width], as a transformer decodes a grey PNG."""
    return np.repeat(pictures[:, None], 3, axis=1)


def _read(path: Path, dimensions: int) -> NDArray[np.uint8]:
    try:
        with gzip.open(path) as file:
            data = file.read(_MOST_BYTES)
    except (OSError, EOFError, zlib.error) as exc:
        raise DatasetError(
            f"{path} cannot be read ({exc}): the folder must hold MNIST's four idx-ubyte.gz files"
        ) from exc
    start = 4 + 4 * dimensions
    if data[:4] != bytes((0, 0, _BYTES, dimensions)) or len(data) < start:
        raise DatasetError(
            f"{path} begins with {data[:4].hex()}; expected is an IDX file of bytes in {dimensions} dimensions"
        )
    shape = np.frombuffer(data, ">u4", count=dimensions, offset=4).tolist()
    values = np.frombuffer(data, np.uint8, offset=start)
    if len(values) != int(np.prod(shape)):
        raise DatasetError(f"{path} declares the shape {shape}, but holds {len(values)} values")
    return values.reshape(shape)
