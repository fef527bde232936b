"""Pictures with true masks for the evaluation of a segmentation: two folders, with a PNG for each picture."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from shardline.client.pictures import pictures_below, upright_size
from shardline.wire.errors import DatasetError

IGNORED = 255  # value of pixels that count neither way, as in PASCAL VOC
MOST_CLASSES = 1000

_MODES = ("P", "L", "1", "I;16", "I")

TrueLabels = NDArray[np.integer]  # indexes of classes


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentedPicture:
    """A picture as a client would send it, its name relative to the folder, and the file of its mask."""

    name: str
    picture: bytes
    mask: Path

    def classes(self) -> TrueLabels:
        """Read the mask: indexes of classes, 255 where nothing counts, integers [height, width] of the upright picture.

        Raises:
            DatasetError: the mask is no palette or grey PNG of the picture's size, or has a class above the limit.
        """
        try:
            with Image.open(self.mask) as image:
                image.load()
                mode, size, values = image.mode, image.size, np.array(image)
        except (OSError, SyntaxError, ValueError) as exc:
            raise DatasetError(f"the mask {self.mask} cannot be read: {exc}") from exc
        if mode not in _MODES:
            raise DatasetError(f"the mask {self.mask} has the mode {mode}; allowed: a palette or grey, not colours")
        wanted = upright_size(self.picture)
        if size != wanted:
            found = "none" if wanted is None else f"{wanted[0]} x {wanted[1]}"
            raise DatasetError(
                f"the mask {self.mask} has {size[0]} x {size[1]} pixels, and the upright picture {self.name} {found}: "
                "they must be equal"
            )
        highest = values[values != IGNORED].max(initial=0)
        if highest >= MOST_CLASSES:
            raise DatasetError(f"the mask {self.mask} has the class {highest}; allowed are 0 to {MOST_CLASSES - 1}")
        return values.astype(np.int64)


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentedPictures:
    """Pictures whose number is known. They are read one at a time; `masks` has a file for each of `files`.

    Iterating raises:
        DatasetError: a picture cannot be read.
    """

    folder: Path
    files: tuple[Path, ...]
    masks: tuple[Path, ...]

    def __len__(self) -> int:
        return len(self.files)

    def __iter__(self) -> Iterator[SegmentedPicture]:
        for path, mask in zip(self.files, self.masks, strict=True):
            try:
                picture = path.read_bytes()
            except OSError as exc:
                raise DatasetError(f"{path} cannot be read: {exc.strerror or exc}") from exc
            yield SegmentedPicture(name=path.relative_to(self.folder).as_posix(), picture=picture, mask=mask)


def open_segmented(data: Path, masks: Path, count: int | None = None) -> SegmentedPictures:
    """Find the pictures of a folder and their masks: the picture a/b.jpg has the mask a/b.png.

    Args:
        count: at most this number of pictures, evenly spread over the list.

    Raises:
        DatasetError: a folder does not exist, there are no pictures, or one has no mask.
    """
    for folder in (data, masks):
        if not folder.is_dir():
            raise DatasetError(
                f"{folder} is not a folder: name one with pictures, and one with masks of the same names"
            )
    files = pictures_below(data)
    if count is not None and count < len(files):
        files = [files[round(position)] for position in np.linspace(0, len(files) - 1, count)]
    if not files:
        raise DatasetError(f"there are no pictures in {data}")
    found = [(masks / path.relative_to(data)).with_suffix(".png") for path in files]
    missing = [path for path, mask in zip(files, found, strict=True) if not mask.is_file()]
    if missing:
        name = missing[0].relative_to(data).with_suffix(".png")
        raise DatasetError(f"{len(missing)} pictures have no mask, the first is {missing[0]}: add {masks / name}")
    return SegmentedPictures(folder=data, files=tuple(files), masks=tuple(found))
