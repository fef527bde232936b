"""Building and extending a bundle's index: pictures from a folder or from MNIST, decoded as a transformer does."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from itertools import islice
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from shardline.partition.build import GoldenPicture
from shardline.partition.device import choose_device, use_threads
from shardline.partition.indexing import BATCH, IndexResult, PictureBatch, add_to_index, build_index
from shardline.predictors.picture import to_pixels
from shardline.storage.bundle import PictureSpec
from shardline.storage.bundle_folder import open_bundle
from shardline.tasks.index import EFFORTS, IndexKind, Metric
from shardline.training.embedding.mnist import as_pixels, digit_name, is_mnist, read_digits
from shardline.training.folder import check_pictures, picture_files
from shardline.training.samples import golden_picture
from shardline.wire.errors import DatasetError, PictureError
from shardline.wire.limits import Limits

Split = Literal["train", "test"]
Track = Callable[[int], AbstractContextManager[Callable[[int], None]]]
"""Opens a progress bar for so many pictures; the function that it gives takes how many more are done."""

_DIGITS_AT_ONCE = 256


class IndexSource:
    """The pictures of FOLDER/SPLIT where there is that folder, else of FOLDER; or one split of MNIST.

    A file's id is its path inside the folder, its label the name of the folder that it lies in; a file that lies in no
    inner folder has no label. A digit's id is its split and number, such as train/00042.

    Raises:
        DatasetError: no folder, no picture in it, or a file of MNIST that cannot be read.
    """

    def __init__(self, folder: Path, split: Split, spec: PictureSpec, limits: Limits) -> None:
        self._spec, self._limits, self._split = spec, limits, split
        self._digits = read_digits(folder, split) if is_mnist(folder) else None
        if split == "test" and not (self._digits or (folder / split).is_dir()):
            raise DatasetError(f"{folder} has no folder {split}: leave out --split {split} to take all its pictures")
        self._folder = folder / split if (folder / split).is_dir() else folder
        self._files = [] if self._digits else picture_files(self._folder)

    @property
    def files(self) -> Sequence[Path]:
        """Files of the pictures; none of MNIST."""
        return self._files

    def __len__(self) -> int:
        return len(self._digits.labels) if self._digits else len(self._files)

    def batches(self) -> Iterator[PictureBatch]:
        """Decode the pictures batch by batch.

        Raises:
            PictureError: a file is no picture; the message has its name.
            DatasetError: MNIST's pictures are not of the bundle's size.
        """
        return self._of_digits() if self._digits else self._of_files()

    def _of_digits(self) -> Iterator[PictureBatch]:
        assert self._digits is not None
        side = self._digits.pictures.shape[1:]
        if side != (self._spec.height, self._spec.width):
            raise DatasetError(
                f"MNIST's pictures have {side[0]} x {side[1]} pixels, and this bundle takes {self._spec.height} x "
                f"{self._spec.width}: build it with `shardline build embedding`, or give the pictures as files"
            )
        for start in range(0, len(self), _DIGITS_AT_ONCE):
            numbers = range(start, min(start + _DIGITS_AT_ONCE, len(self)))
            yield PictureBatch(
                pixels=as_pixels(self._digits.pictures[numbers.start : numbers.stop]),
                ids=tuple(digit_name(self._split, number) for number in numbers),
                labels=tuple(map(str, self._digits.labels[numbers.start : numbers.stop].tolist())),
            )

    def _of_files(self) -> Iterator[PictureBatch]:
        waiting = iter(self._files)
        while files := list(islice(waiting, BATCH)):
            yield PictureBatch(
                pixels=np.stack([self._pixels(file) for file in files]),
                ids=tuple(file.relative_to(self._folder).as_posix() for file in files),
                labels=tuple(None if file.parent == self._folder else file.parent.name for file in files),
            )

    def _pixels(self, file: Path) -> NDArray[np.uint8]:
        try:
            return to_pixels(file.read_bytes(), self._spec, self._limits)
        except PictureError as exc:
            raise PictureError(f"{file}: {exc}") from exc


def index_pictures(
    bundle: Path, data: Path, split: Split, track: Track, *, device: str = "auto", kind: IndexKind | None = None,
    metric: Metric = "cosine", extend: bool = False,
) -> IndexResult:  # fmt: skip
    """Run the bundle's chain over pictures and write the index of its vectors into the bundle; the model stays.

    Args:
        kind: flat, ivf or hnsw; None chooses by the number of pictures.
        metric: cosine or l2.
        extend: add to the index that is there, with its kind and metric, in place of building one.

    Raises:
        DatasetError, PictureError: as `IndexSource`.
        BundleError, ModelError: as `build_index` and `add_to_index`.
    """
    use_threads()
    described = open_bundle(bundle)
    source = IndexSource(data, split, described.picture, described.limits)

    def counted(advance: Callable[[int], None]) -> Iterator[PictureBatch]:
        for batch in source.batches():
            yield batch
            advance(len(batch.ids))

    def prove(pixels: NDArray[np.uint8]) -> GoldenPicture:
        return golden_picture(pixels, described.picture)

    check_pictures(source.files, described.picture, described.limits)
    chosen = choose_device(device)
    with track(len(source)) as advance:
        if extend:
            return add_to_index(bundle, counted(advance), prove, device=chosen)
        return build_index(bundle, counted(advance), prove, kind=kind, metric=metric, device=chosen)


def index_summary(made: IndexResult) -> str:
    """One line about an index: pictures, labels, width, kind, metric, search effort and measured recall."""
    entries = made.entries
    effort = "" if entries.kind == "flat" else f", {EFFORTS[entries.kind]} {entries.effort}"
    recall = "" if made.recall is None else f", which finds {made.recall:.1%} of the 10 nearest"
    labels = len({label for label in entries.labels if label is not None})
    return (
        f"{len(entries.ids)} pictures of {labels} labels as vectors of {entries.width} numbers: {entries.kind}, "
        f"{entries.metric}{effort}{recall}"
    )
