"""Files as MNIST's, of digits that are learned within seconds: each is a bar at a place of its own, with noise."""

import gzip
import struct
from pathlib import Path

import numpy as np

SIDE = 28


def digits(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """`count` pictures, uint8 [count, 28, 28], and labels, uint8 [count]."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 10, count).astype(np.uint8)
    pictures = random.integers(0, 60, (count, SIDE, SIDE), dtype=np.uint8)
    for picture, label in zip(pictures, labels.tolist(), strict=True):
        at = 4 + 4 * (label % 5)
        picture[(slice(at, at + 3), slice(3, 25)) if label < 5 else (slice(3, 25), slice(at, at + 3))] += 180
    return pictures, labels


def write_idx(path: Path, values: np.ndarray) -> None:
    head = struct.pack(f">BBBB{values.ndim}I", 0, 0, 8, values.ndim, *values.shape)
    path.write_bytes(gzip.compress(head + values.tobytes(), 1))


def write_mnist(folder: Path, *, train: int = 600, test: int = 60) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, count, seed in (("train", train, 0), ("t10k", test, 1)):
        pictures, labels = digits(count, seed)
        write_idx(folder / f"{name}-images-idx3-ubyte.gz", pictures)
        write_idx(folder / f"{name}-labels-idx1-ubyte.gz", labels)
    return folder
