"""The pictures that every system is asked about, and what the whole model says of them.

Photographs that ship in scikit-image, as JPEGs of the size they have. Random weights are less sure of themselves than
trained ones, so that a picture whose first two classes are close is left out: there the last digit decides, and bf16 or
another order of adding may well name the other. Whom it names is then no sign of a fault.
"""

import io
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.bundles import shardline
from benchmarks.processes import UnavailableError
from shardline.predictors.picture import pixel_batch
from shardline.storage.bundle import PictureSpec
from shardline.wire.limits import Limits

_JPEG_QUALITY = 90
LEAD = 0.03  # of the first class' probability, over the second's


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedPictures:
    """JPEG files, and the class that the whole model gives each."""

    files: tuple[Path, ...]
    classes: tuple[int, ...]


def write_jpegs(folder: Path) -> list[Path]:
    """scikit-image's photographs as JPEGs in `folder`.

    Raises:
        UnavailableError: scikit-image is not installed.
    """
    originals = folder / "originals"
    shardline("samples", str(originals))
    return list(_as_jpegs(sorted(path for path in originals.iterdir() if path.is_file()), folder))


def _as_jpegs(originals: Sequence[Path], folder: Path) -> Iterator[Path]:
    for original in originals:
        path = folder / f"{original.stem}.jpg"
        if original.suffix == ".jpg":
            path.write_bytes(original.read_bytes())
        else:
            with io.BytesIO() as buffer, Image.open(original) as image:
                image.convert("RGB").save(buffer, "JPEG", quality=_JPEG_QUALITY)
                path.write_bytes(buffer.getvalue())
        yield path


def pixels_of(files: Sequence[Path], spec: PictureSpec) -> np.ndarray:
    """uint8 [n, 3, height, width], as the transformer makes them."""
    return pixel_batch([path.read_bytes() for path in files], spec, Limits())


def choose_clear(files: Sequence[Path], probabilities: np.ndarray) -> CheckedPictures:
    """The pictures whose first class leads.

    Args:
        probabilities: float [n, classes], the whole model's.

    Raises:
        UnavailableError: fewer than three are clear: nothing could be checked.
    """
    classes = probabilities.argmax(1)
    second, first = np.sort(probabilities, 1)[:, -2:].T
    clear = [index for index in range(len(files)) if first[index] >= second[index] * (1 + LEAD)]
    if len(clear) < 3:
        raise UnavailableError(f"the whole model is sure of {len(clear)} of {len(files)} pictures; 3 are needed")
    return CheckedPictures(files=tuple(files[i] for i in clear), classes=tuple(int(classes[i]) for i in clear))


if __name__ == "__main__":
    print(json.dumps([str(path) for path in write_jpegs(Path(sys.argv[1]))]))
