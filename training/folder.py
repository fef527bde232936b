"""Labelled pictures in a folder: SPLIT/CLASS/picture, as torchvision.datasets.ImageFolder and most others lay them out.

Without torch: the processes that draw batches, and a command's first line, start fast.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from shardline.wire.errors import ModelError

PICTURE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"})
TRAIN, TEST = "train", "test"
_VALIDATION = ("val", "valid", "validation")


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelled:
    """Pictures and what each shows: `classes[i]` is the place of picture i's label among `labels`."""

    labels: tuple[str, ...]
    files: tuple[Path, ...]
    classes: tuple[int, ...]

    @property
    def counts(self) -> list[int]:
        """Pictures of each label."""
        found = Counter(self.classes)
        return [found[each] for each in range(len(self.labels))]

    def only(self, places: Sequence[int]) -> "Labelled":
        """Some of them, with all the labels."""
        files, classes = tuple(self.files[at] for at in places), tuple(self.classes[at] for at in places)
        return Labelled(labels=self.labels, files=files, classes=classes)

    def digest(self) -> str:
        """sha256 of which pictures these are: of labels, files' names and sizes."""
        lines = [f"{self.labels[which]}/{file.name} {file.stat().st_size}"
                 for file, which in zip(self.files, self.classes, strict=True)]  # fmt: skip
        return hashlib.sha256("\n".join((*self.labels, *lines)).encode()).hexdigest()


def read_split(folder: Path, split: str, labels: Sequence[str] = ()) -> Labelled:
    """The pictures of FOLDER/SPLIT/CLASS, sorted by class and path.

    Args:
        labels: what a model's classes are called, in its order; without, the folders are, by name.

    Raises:
        ModelError: no such folder, a class that is no label, or one without pictures.
    """
    place = folder / split
    if not place.is_dir():
        raise ModelError(f"{folder} has no folder {split}: pictures are expected as {place}/CLASS/*.jpg")
    found = sorted(each.name for each in place.iterdir() if each.is_dir() and not each.name.startswith("."))
    names = tuple(labels) or tuple(found)
    unknown = sorted(set(found) - set(names))
    if unknown or not found:
        raise ModelError(
            f"{place} holds {'the unknown ' + ', '.join(unknown) if unknown else 'no class'}; "
            f"allowed are {', '.join(names) or 'one folder a class'}"
        )
    files = {name: _pictures(place / name) for name in found}
    return Labelled(
        labels=names,
        files=tuple(file for name in found for file in files[name]),
        classes=tuple(names.index(name) for name in found for _ in files[name]),
    )


def has_split(folder: Path, split: str) -> bool:
    return (folder / split).is_dir()


@lru_cache(maxsize=4)
def learnt_and_held_out(folder: Path, share: float, seed: int) -> tuple[Labelled, Labelled]:
    """The pictures to learn from, and those that scores are taken from: FOLDER/val where there is one (or valid, or
    validation), else a share of each class in FOLDER/train, the same ones for the same seed.

    Raises:
        ModelError: as `read_split`, fewer than two classes, or a share that leaves nothing of one side.
    """
    train = read_split(folder, TRAIN)
    if len(train.labels) < 2:
        raise ModelError(f"{folder / TRAIN} holds one class, {train.labels[0]}: a classifier needs two or more")
    given = next((name for name in _VALIDATION if has_split(folder, name)), None)
    if given is not None:
        return train, read_split(folder, given, train.labels)
    held = _some_of_each(train, share, seed)
    if not held:
        raise ModelError(
            f"--held-out {share:g} of the pictures of each class in {folder / TRAIN} is none: there are "
            f"{max(train.counts)} at most; give more, or put pictures to score with into {folder / _VALIDATION[0]}"
        )
    rest = sorted(set(range(len(train.files))) - held)
    return train.only(rest), train.only(sorted(held))


def _some_of_each(pictures: Labelled, share: float, seed: int) -> set[int]:
    """Places of a share of each class; of each class at least one picture is left."""
    random = np.random.default_rng((seed, len(pictures.files)))
    classes = np.array(pictures.classes)
    held: set[int] = set()
    for each in range(len(pictures.labels)):
        places = random.permutation(np.flatnonzero(classes == each))
        held.update(places[: min(round(share * len(places)), len(places) - 1)].tolist())
    return held


def _pictures(folder: Path) -> list[Path]:
    """Every picture below `folder`, sorted by path."""
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in PICTURE_SUFFIXES and path.is_file())
    if not found:
        raise ModelError(f"{folder} holds no picture ({', '.join(sorted(PICTURE_SUFFIXES))})")
    return found
