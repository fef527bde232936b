"""Labelled pictures in folders SPLIT/CLASS/picture, as torchvision's ImageFolder has them; and digits to try with.

Without torch: the worker processes that draw batches, and a command's first line, start fast.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image

from shardline.client.pictures import PICTURE_SUFFIXES, pictures_below
from shardline.wire.errors import DatasetError, FileError, MissingPackageError, UsageError

TRAIN, TEST = "train", "test"
DIGITS = "digits"  # the name of scikit-learn's digits in place of a folder

_VALIDATION = ("val", "valid", "validation")
_TEST_EVERY = 5  # every fifth digit is for testing
_DIGIT_WHITE = 16  # the largest value in scikit-learn's digits


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
        lines = [f"{self.labels[label]}/{file.name} {file.stat().st_size}"
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
    found = sorted(path.name for path in place.iterdir() if path.is_dir() and not path.name.startswith("."))
    names = tuple(labels) or tuple(found)
    unknown = sorted(set(found) - set(names))
    if unknown or not found:
        raise DatasetError(
            f"{place} holds {'the unknown ' + ', '.join(unknown) if unknown else 'no class'}; "
            f"allowed are {', '.join(names) or 'one folder a class'}"
        )
    files = {name: picture_files(place / name) for name in found}
    return LabelledSplit(
        labels=names,
        files=tuple(file for name in found for file in files[name]),
        classes=tuple(names.index(name) for name in found for _ in files[name]),
    )


def has_split(folder: Path, split: str) -> bool:
    """Tell whether there is a folder FOLDER/SPLIT."""
    return (folder / split).is_dir()


@lru_cache(maxsize=4)
def training_and_validation(folder: Path, share: float, seed: int) -> tuple[LabelledSplit, LabelledSplit]:
    """The pictures to train with and those to validate with.

    Validation pictures are FOLDER/val where there is one (or valid, or validation), else a random share of each class
    in FOLDER/train, the same ones for the same seed.

    Raises:
        DatasetError: as `read_split`, or fewer than two classes.
        UsageError: the share leaves no validation picture.
    """
    train = read_split(folder, TRAIN)
    if len(train.labels) < 2:
        raise DatasetError(f"{folder / TRAIN} holds one class, {train.labels[0]}: a classifier needs two or more")
    given = next((name for name in _VALIDATION if has_split(folder, name)), None)
    if given is not None:
        return train, read_split(folder, given, train.labels)
    held = _random_share_of_each(train, share, seed)
    if not held:
        raise UsageError(
            f"--held-out {share:g} of the pictures of each class in {folder / TRAIN} is none: there are "
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
