"""Pictures of the requests to all systems, with the class that the whole model predicts for each.

Photographs that ship in scikit-image, as JPEGs of their own size. With random weights, the highest scores are closer
than with trained ones. A picture whose two highest scores are close is left out: bf16 or another order of additions may
change its class, which would not be a fault.
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
from shardline.storage.bundle import PictureSpec
from shardline.wire.limits import Limits

_JPEG_QUALITY = 90
LEAD = 0.03  # least relative lead of the highest probability over the second


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedPictures:
    """JPEG files, and the class that the whole model predicts for each."""

    files: tuple[Path, ...]
    classes: tuple[int, ...]


def write_jpegs(folder: Path) -> list[Path]:
    """Write scikit-image's photographs as JPEGs into `folder`.

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
    """Decode and resize as the transformer does: uint8 [n, 3, height, width]."""
    from shardline.predictors.picture import pixel_batch  # keeps the import graph shallow

    return pixel_batch([path.read_bytes() for path in files], spec, Limits())


def choose_clear(files: Sequence[Path], probabilities: np.ndarray) -> CheckedPictures:
    """Choose the pictures whose highest probability has a clear lead.

    Args:
        probabilities: float32 [n, classes], of the whole model.

    Raises:
        UnavailableError: fewer than three have one, so that replies could not be checked.
    """
    classes = probabilities.argmax(1)
    second, first = np.sort(probabilities, 1)[:, -2:].T
    clear = [index for index in range(len(files)) if first[index] >= second[index] * (1 + LEAD)]
    if len(clear) < 3:
        raise UnavailableError(
            f"the prediction of the whole model is clear for {len(clear)} of {len(files)} pictures; 3 are needed"
        )
    return CheckedPictures(files=tuple(files[i] for i in clear), classes=tuple(int(classes[i]) for i in clear))


if __name__ == "__main__":
    print(json.dumps([str(path) for path in write_jpegs(Path(sys.argv[1]))]))
