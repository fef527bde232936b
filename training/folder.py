"""Labelled pictures in folders SPLIT/CLASS/picture, as torchvision's ImageFolder has them; and digits to try with.

Without torch: the worker processes that draw batches, and a command's first line, start fast.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
from PIL import Image

from shardline.client.pictures import PICTURE_SUFFIXES, display_name, is_hidden, pictures_below
from shardline.predictors.picture import open_picture
from shardline.storage.bundle import PictureSpec
from shardline.wire.errors import DatasetError, FileError, MissingPackageError, ShardlineError, UsageError
from shardline.wire.limits import Limits

TRAIN, TEST = "train", "test"
DIGITS = "digits"  # the name of scikit-learn's digits in place of a folder

_VALIDATION = ("val", "valid", "validation")
_SPLITS = (TRAIN, TEST, *_VALIDATION)
_TEST_EVERY = 5  # every fifth digit is for testing
_DIGIT_WHITE = 16  # the largest value in scikit-learn's digits
_DECODERS = 4  # threads that look through pictures; decoding releases Python's lock
_ANY_SIZE = PictureSpec(height=224, width=224)  # large JPEGs are decoded at reduced scale for it
_NAMED = 50  # broken pictures that a message names


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledSplit:
    """Pictures and their labels: `classes[i]` is the index of picture i's label in `labels`."""

    labels: tuple[str, ...]
    files: tuple[Path, ...]
    classes: tuple[int, ...]

    @property
    def counts(self) -> list[int]:
        """The number of pictures of each label."""
        found = Counter(self.classes)
        return [found[label] for label in range(len(self.labels))]

    def subset(self, indexes: Sequence[int]) -> "LabelledSplit":
        """The pictures at these indexes, with all the labels."""
        files, classes = tuple(self.files[index] for index in indexes), tuple(self.classes[index] for index in indexes)
        return LabelledSplit(labels=self.labels, files=files, classes=classes)

    def digest(self) -> str:
        """sha256 over labels, file names and sizes: equal for the same pictures."""
        lines = [f"{self.labels[label]}/{display_name(file.name)} {file.stat().st_size}"
                 for file, label in zip(self.files, self.classes, strict=True)]  # fmt: skip
        return hashlib.sha256("\n".join((*self.labels, *lines)).encode()).hexdigest()


def read_split(folder: Path, split: str, labels: Sequence[str] = ()) -> LabelledSplit:
    """List the pictures of FOLDER/SPLIT/CLASS, sorted by class and path.

    Args:
        labels: a model's labels in its order; without any, the names of the folders, sorted.

    Raises:
        DatasetError: no such folder, a class that is no label, or one without pictures.
    """
    place = folder / split
    if not place.is_dir():
        raise DatasetError(f"{folder} has no folder {split}: pictures are expected as {place}/CLASS/*.jpg")
    folders = {display_name(path.name): path for path in place.iterdir() if path.is_dir() and not is_hidden(path.name)}
    found = sorted(folders)
    names = tuple(labels) or tuple(found)
    unknown = sorted(set(found) - set(names))
    if unknown or not found:
        raise DatasetError(
            f"{place} holds {'the unknown ' + ', '.join(unknown) if unknown else 'no class'}; "
            f"allowed are {', '.join(names) or 'one folder a class'}"
        )
    files = {name: picture_files(folders[name]) for name in found}
    return LabelledSplit(
        labels=names,
        files=tuple(file for name in found for file in files[name]),
        classes=tuple(names.index(name) for name in found for _ in files[name]),
    )


def has_split(folder: Path, split: str) -> bool:
    """Tell whether there is a folder FOLDER/SPLIT with folders in it; with pictures alone it is a class so called."""
    place = folder / split
    return place.is_dir() and any(path.is_dir() and not is_hidden(path.name) for path in place.iterdir())


def held_out_split(folder: Path) -> Path:
    """The folder of classes to evaluate on: FOLDER/test, else FOLDER/val, else FOLDER where it has no splits.

    Raises:
        DatasetError: FOLDER has pictures to train with alone.
    """
    split = next((name for name in (TEST, *_VALIDATION) if has_split(folder, name)), None)
    if split is None and has_split(folder, TRAIN):
        raise DatasetError(
            f"{folder} has a folder {TRAIN} and none of {', '.join((TEST, *_VALIDATION))}: name {folder / TRAIN} to "
            "evaluate on the pictures of a training"
        )
    return folder if split is None else folder / split


@lru_cache(maxsize=4)
def training_and_validation(folder: Path, share: float, seed: int) -> tuple[LabelledSplit, LabelledSplit]:
    """The pictures to train with and those to validate with.

    They are those of FOLDER/train, or of FOLDER where it has no splits. Validation pictures are FOLDER/val where there
    is one (or valid, or validation), else a random share of each class, the same ones for the same seed.

    Raises:
        DatasetError: as `read_split`, or fewer than two classes.
        UsageError: the share leaves no validation picture.
    """
    place = folder if folder.is_dir() and not any(has_split(folder, name) for name in _SPLITS) else folder / TRAIN
    train = read_split(place.parent, place.name)
    if len(train.labels) < 2:
        raise DatasetError(f"{place} holds one class, {train.labels[0]}: a classifier needs two or more")
    given = next((name for name in _VALIDATION if has_split(folder, name)), None)
    if given is not None:
        return train, read_split(folder, given, train.labels)
    held = _random_share_of_each(train, share, seed)
    if not held:
        raise UsageError(
            f"--held-out {share:g} of the pictures of each class in {place} is none: there are "
            f"{max(train.counts)} at most; give more, or put validation pictures into {folder / _VALIDATION[0]}"
        )
    rest = sorted(set(range(len(train.files))) - held)
    return train.subset(rest), train.subset(sorted(held))


def write_digits(folder: Path) -> Path:
    """Write scikit-learn's 1,797 digits of 8 × 8 pixels as PNG files, every fifth of them under test; return `folder`.

    They are the test part of UCI's "Optical Recognition of Handwritten Digits". Files that are there are written again,
    with the same content.

    Raises:
        MissingPackageError: scikit-learn is not installed.
        FileError: the folder cannot be written.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as exc:
        raise MissingPackageError(
            f"{DIGITS} ship in scikit-learn: pip install 'shardline[train]', or name a folder"
        ) from exc
    digits = load_digits()
    pixels = np.round(digits.images * (255 / _DIGIT_WHITE)).astype(np.uint8)  # [1797, 8, 8]
    try:
        for number, (picture, digit) in enumerate(zip(pixels, digits.target, strict=True)):
            place = folder / (TRAIN if number % _TEST_EVERY else TEST) / str(digit)
            place.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(place / f"{number:04}.png")
    except OSError as exc:
        raise FileError(f"{folder} cannot be written: {exc}") from exc
    return folder


def _random_share_of_each(pictures: LabelledSplit, share: float, seed: int) -> set[int]:
    """The indexes of a random share of each class; at least one picture of each class is left."""
    random = np.random.default_rng((seed, len(pictures.files)))
    classes = np.array(pictures.classes)
    held: set[int] = set()
    for label in range(len(pictures.labels)):
        indexes = random.permutation(np.flatnonzero(classes == label))
        held.update(indexes[: min(round(share * len(indexes)), len(indexes) - 1)].tolist())
    return held


def picture_files(folder: Path) -> list[Path]:
    """List every picture below a folder, sorted by path; hidden files are left out.

    Raises:
        DatasetError: no such folder, or no picture in it.
    """
    if not folder.is_dir():
        raise DatasetError(f"{folder} is not a folder of pictures")
    found = pictures_below(folder)
    if not found:
        raise DatasetError(f"{folder} holds no picture ({', '.join(PICTURE_SUFFIXES)})")
    return found


def check_pictures(
    files: Sequence[Path],
    spec: PictureSpec = _ANY_SIZE,
    limits: Limits = Limits(),  # noqa: B008  # frozen
) -> None:
    """Decode every file, as a server does, before anything slow is done with them.

    Raises:
        DatasetError: as `check_files`.
    """
    check_files(files, lambda file: open_picture(file.read_bytes(), spec, limits))


def check_files(files: Sequence[Path], read: Callable[[Path], object]) -> None:
    """Read every file of pictures by `read`, in several threads.

    Raises:
        DatasetError: files that are no pictures, empty, damaged or too large: all of them are named.
    """
    with ThreadPoolExecutor(_DECODERS) as pool:
        reasons = pool.map(partial(_why_broken, read=read), files)
        broken = [f"{display_name(file)}: {why}" for file, why in zip(files, reasons, strict=True) if why]
    if broken:
        shown = "; ".join(broken[:_NAMED]) + (f"; and {len(broken) - _NAMED} more" if len(broken) > _NAMED else "")
        raise DatasetError(f"{len(broken)} of {len(files)} pictures cannot be opened, remove or replace them: {shown}")


def find_photographs(folder: Path) -> list[Path]:
    """List the photographs below a folder to draw onto, all of which can be read.

    Raises:
        DatasetError: no such folder, no photograph in it, or some that cannot be read: all of them are named.
    """
    files = picture_files(folder)
    check_files(files, _decode)
    return files


def _decode(file: Path) -> None:
    with Image.open(file) as opened:
        opened.draft("RGB", (_ANY_SIZE.width, _ANY_SIZE.height))
        opened.load()


def _why_broken(file: Path, read: Callable[[Path], object]) -> str:
    try:
        read(file)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError, ShardlineError) as exc:
        return (exc.strerror if isinstance(exc, OSError) else None) or str(exc)
    return ""
