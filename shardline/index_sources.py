"""Where the pictures of an index come from: a folder of files, or MNIST's own; all as a transformer makes them."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from shardline.predictors.picture import to_pixels
from shardline.samples import picture_files
from shardline.storage.bundle import PictureSpec
from shardline.training.embedding.mnist import as_pixels, digit_name, is_mnist, read_digits
from shardline.wire.errors import ModelError, PictureError
from shardline.wire.limits import Limits

if TYPE_CHECKING:
    from shardline.partition.indexing import Pictures

Split = Literal["train", "test"]

_TOGETHER = 256


class IndexSource:
    """The pictures of FOLDER, or of FOLDER/SPLIT where there is that folder; or one part of MNIST's.

    A file's id is its path inside of the folder, its label the name of the folder that it lies in; a file that lies in
    none has no label. A digit's id is its part and number, such as train/00042.

    Raises:
        ModelError: no folder, no picture in it, or a file of MNIST's that cannot be read.
    """

    def __init__(self, folder: Path, split: Split, spec: PictureSpec, limits: Limits) -> None:
        self._spec, self._limits, self._split = spec, limits, split
        self._digits = read_digits(folder, split) if is_mnist(folder) else None
        self._folder = folder / split if (folder / split).is_dir() else folder
        self._files = [] if self._digits else picture_files(self._folder)

    def __len__(self) -> int:
        return len(self._digits.labels) if self._digits else len(self._files)

    def batches(self) -> "Iterator[Pictures]":
        """
        Raises:
            PictureError: a file that is no picture, by its name.
        """
        return self._of_digits() if self._digits else self._of_files()

    def _of_digits(self) -> "Iterator[Pictures]":
        from shardline.partition.indexing import Pictures

        assert self._digits is not None
        side = self._digits.pictures.shape[1:]
        if side != (self._spec.height, self._spec.width):
            raise ModelError(
                f"MNIST's pictures have {side[0]} x {side[1]} pixels, and this bundle takes {self._spec.height} x "
                f"{self._spec.width}: build it with `shardline build embedding`, or give the pictures as files"
            )
        for start in range(0, len(self), _TOGETHER):
            places = range(start, min(start + _TOGETHER, len(self)))
            yield Pictures(
                pixels=as_pixels(self._digits.pictures[places.start : places.stop]),
                ids=tuple(digit_name(self._split, place) for place in places),
                labels=tuple(map(str, self._digits.labels[places.start : places.stop].tolist())),
            )

    def _of_files(self) -> "Iterator[Pictures]":
        from shardline.partition.indexing import BATCH, Pictures

        waiting = iter(self._files)
        while files := list(islice(waiting, BATCH)):
            yield Pictures(
                pixels=np.stack([self._pixels(file) for file in files]),
                ids=tuple(file.relative_to(self._folder).as_posix() for file in files),
                labels=tuple(None if file.parent == self._folder else file.parent.name for file in files),
            )

    def _pixels(self, file: Path) -> np.ndarray:
        try:
            return to_pixels(file.read_bytes(), self._spec, self._limits)
        except PictureError as exc:
            raise PictureError(f"{file}: {exc}") from exc
