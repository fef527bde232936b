"""What is asked about: a picture as its file's bytes, and the class that it shows."""

import io
from collections.abc import Iterable, Iterator, Sequence, Sized
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from shardline.training.embedding.mnist import Split, digit_name, is_mnist, read_digits
from shardline.training.folder import TEST, has_split, read_split
from shardline.wire.errors import ModelError

_PART: Split = "test"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    name: str  # of its file, from the folder on
    picture: bytes  # as a client would send it
    label: int  # its class: a place in Samples.labels


class Samples(Sized, Iterable[Sample], Protocol):
    """Pictures of which it is known how many there are, at least one of each label."""

    @property
    def labels(self) -> tuple[str, ...]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Pictures:
    """Pictures of a folder, read one at a time. `classes` are places in `labels`, one a file.

    Going through them raises:
        ModelError: one cannot be read.
    """

    folder: Path
    labels: tuple[str, ...]
    files: tuple[Path, ...]
    classes: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.files)

    def __iter__(self) -> Iterator[Sample]:
        for path, label in zip(self.files, self.classes, strict=True):
            try:
                picture = path.read_bytes()
            except OSError as exc:
                raise ModelError(f"{path} cannot be read: {exc.strerror or exc}") from exc
            yield Sample(name=path.relative_to(self.folder).as_posix(), picture=picture, label=label)


@dataclass(frozen=True, slots=True, kw_only=True)
class MnistPictures:
    """Some of MNIST's test pictures, uint8 [n, height, width], each as a PNG file of that size.

    `places` are those in MNIST's own order, one for each of the n; `classes` are places in `labels`.
    """

    labels: tuple[str, ...]
    pictures: NDArray[np.uint8]
    places: tuple[int, ...]
    classes: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.places)

    def __iter__(self) -> Iterator[Sample]:
        for pixels, place, label in zip(self.pictures, self.places, self.classes, strict=True):
            yield Sample(name=digit_name(_PART, place), picture=_png(pixels), label=label)


def read_pictures(folder: Path, count: int | None = None) -> Samples:
    """FOLDER/test/CLASS/picture, or FOLDER/CLASS/picture where there is no folder test; or the test part of MNIST's
    files.

    Args:
        count: at most so many, from everywhere in the list; labels of which none is left are left out.

    Raises:
        ModelError: there is no such folder, a class without pictures, or a file of MNIST's that cannot be read.
    """
    if is_mnist(folder):
        return _read_mnist(folder, count)
    if not folder.is_dir():
        raise ModelError(f"{folder} is no folder: name one with test/CLASS/*.jpg or CLASS/*.jpg")
    place = folder / TEST if has_split(folder, TEST) else folder
    found = read_split(place.parent, place.name)
    some = found.subset(_spread(len(found.files), count))
    labels, classes = _shown(found.labels, some.classes)
    return Pictures(folder=place, labels=labels, files=some.files, classes=classes)


def _read_mnist(folder: Path, count: int | None) -> MnistPictures:
    found = read_digits(folder, _PART)
    places = _spread(len(found.labels), count)
    labels, classes = _shown([str(each) for each in range(256)], found.labels[places].tolist())
    return MnistPictures(labels=labels, pictures=found.pictures[places], places=tuple(places), classes=classes)


def _spread(there: int, count: int | None) -> list[int]:
    """So many places, or all if there are no more."""
    wanted = there if count is None else min(there, count)
    return [there * number // wanted for number in range(wanted)]


def _shown(labels: Sequence[str], classes: Sequence[int]) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """The labels that pictures of these classes have, in their order, and the pictures' places among those."""
    place = {each: number for number, each in enumerate(sorted(set(classes)))}
    return tuple(labels[each] for each in place), tuple(place[each] for each in classes)


def _png(pixels: NDArray[np.uint8]) -> bytes:
    with io.BytesIO() as buffer:
        Image.fromarray(pixels).save(buffer, "PNG", compress_level=1)
        return buffer.getvalue()
