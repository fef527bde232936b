"""Labelled pictures for the evaluation of a classifier: the test split of a folder, of MNIST's files, or digits."""

import io
from collections.abc import Iterable, Iterator, Sequence, Sized
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from shardline.training.embedding.mnist import Split, digit_name, is_mnist, read_digits
from shardline.training.folder import DIGITS, held_out_split, read_split, write_digits
from shardline.wire.errors import DatasetError

_SPLIT: Split = "test"


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledPicture:
    name: str  # of its file, relative to the folder
    picture: bytes  # as a client would send it
    label: int  # index in LabelledPictures.labels


class LabelledPictures(Sized, Iterable[LabelledPicture], Protocol):
    """Labelled pictures whose number is known, at least one of each label."""

    @property
    def labels(self) -> tuple[str, ...]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderPictures:
    """Pictures of a folder, read one at a time. `classes` are indexes in `labels`, one for each file.

    Iterating raises:
        DatasetError: a picture cannot be read.
    """

    folder: Path
    labels: tuple[str, ...]
    files: tuple[Path, ...]
    classes: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.files)

    def __iter__(self) -> Iterator[LabelledPicture]:
        for path, label in zip(self.files, self.classes, strict=True):
            try:
                picture = path.read_bytes()
            except OSError as exc:
                raise DatasetError(f"{path} cannot be read: {exc.strerror or exc}") from exc
            yield LabelledPicture(name=path.relative_to(self.folder).as_posix(), picture=picture, label=label)


@dataclass(frozen=True, slots=True, kw_only=True)
class MnistPictures:
    """Test pictures of MNIST, each as a PNG file of its size.

    Attributes:
        pictures: uint8 [n, height, width].
        positions: of the n pictures, in MNIST's own order.
        classes: of the n pictures, indexes in `labels`.
        files: none, since MNIST's own hold all pictures.
    """

    labels: tuple[str, ...]
    pictures: NDArray[np.uint8]
    positions: tuple[int, ...]
    classes: tuple[int, ...]
    files: tuple[Path, ...] = ()

    def __len__(self) -> int:
        return len(self.positions)

    def __iter__(self) -> Iterator[LabelledPicture]:
        for pixels, position, label in zip(self.pictures, self.positions, self.classes, strict=True):
            yield LabelledPicture(name=digit_name(_SPLIT, position), picture=_png(pixels), label=label)


@contextmanager
def open_pictures(data: str, count: int | None) -> Iterator[FolderPictures | MnistPictures]:
    """Open the pictures of a folder, or scikit-learn's digits, which lie in a temporary folder until the block ends.

    Raises:
        DatasetError, MissingPackageError: as `read_pictures` and `write_digits`.
    """
    if data != DIGITS:
        yield read_pictures(Path(data), count)
        return
    with TemporaryDirectory() as folder:
        yield read_pictures(write_digits(Path(folder)), count)


def read_pictures(folder: Path, count: int | None = None) -> FolderPictures | MnistPictures:
    """List the pictures of FOLDER/test/CLASS, FOLDER/val/CLASS or FOLDER/CLASS, or read MNIST's test files.

    Args:
        count: at most this number of pictures, evenly spread over the list; labels without a picture are left out.

    Raises:
        DatasetError: there is no such folder, a class has no pictures, or a file of MNIST cannot be read.
    """
    if is_mnist(folder):
        return _read_mnist(folder, count)
    if not folder.is_dir():
        raise DatasetError(f"{folder} is not a folder: name one with test/CLASS/*.jpg or CLASS/*.jpg")
    place = held_out_split(folder)
    found = read_split(place.parent, place.name)
    some = found.subset(_spread(len(found.files), count))
    labels, classes = _used_labels(found.labels, some.classes)
    return FolderPictures(folder=place, labels=labels, files=some.files, classes=classes)


def _read_mnist(folder: Path, count: int | None) -> MnistPictures:
    found = read_digits(folder, _SPLIT)
    positions = _spread(len(found.labels), count)
    labels, classes = _used_labels([str(number) for number in range(256)], found.labels[positions].tolist())
    return MnistPictures(labels=labels, pictures=found.pictures[positions], positions=tuple(positions), classes=classes)


def _spread(length: int, count: int | None) -> list[int]:
    """`count` evenly spread indexes of a list of this length, or all of them if there are no more."""
    wanted = length if count is None else min(length, count)
    return [length * number // wanted for number in range(wanted)]


def _used_labels(labels: Sequence[str], classes: Sequence[int]) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """The labels that occur, in their order, and the classes of the pictures as indexes in these."""
    new_class = {old: new for new, old in enumerate(sorted(set(classes)))}
    return tuple(labels[old] for old in new_class), tuple(new_class[old] for old in classes)


def _png(pixels: NDArray[np.uint8]) -> bytes:
    """`pixels` uint8 [height, width]."""
    with io.BytesIO() as buffer:
        Image.fromarray(pixels).save(buffer, "PNG", compress_level=1)
        return buffer.getvalue()
