"""Pictures to calibrate and to try with: a folder's, or the photographs that ship in scikit-image."""

import io
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from shardline.console import say
from shardline.predictors.picture import fit_picture, to_pixels
from shardline.storage.bundle import PictureSpec
from shardline.training.folder import PICTURE_SUFFIXES
from shardline.wire.errors import ModelError
from shardline.wire.limits import Limits

if TYPE_CHECKING:
    from shardline.partition.build import GoldenPicture

# Photographs in scikit-image's own wheel; its other pictures are downloaded.
_SHIPPED = (
    "astronaut.png",
    "brick.png",
    "camera.png",
    "chelsea.png",
    "coffee.png",
    "coins.png",
    "grass.png",
    "hubble_deep_field.jpg",
    "ihc.png",
    "motorcycle_left.png",
    "retina.jpg",
    "rocket.jpg",
)
_PARTS = 3  # further views of each picture


def picture_files(folder: Path) -> list[Path]:
    """Every picture below `folder`, sorted by path.

    Raises:
        ModelError: no such folder, or no picture in it.
    """
    if not folder.is_dir():
        raise ModelError(f"{folder} is not a folder of pictures")
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in PICTURE_SUFFIXES and path.is_file())
    if not found:
        raise ModelError(f"{folder} holds no picture ({', '.join(sorted(PICTURE_SUFFIXES))})")
    return found


def sample_pictures() -> list[bytes]:
    """The photographs that ship in scikit-image's wheel, as files' bytes.

    Raises:
        ModelError: scikit-image is not installed.
    """
    return [path.read_bytes() for path in sample_files()]


def task_samples(task: str) -> dict[str, bytes]:
    """Pictures for a task: name -> a file's bytes. Those of plates are drawn; without fonts, photographs are taken.

    Raises:
        ModelError: scikit-image is not installed.
    """
    photographs = {path.name: path.read_bytes() for path in sample_files()}
    if task != "plates":
        return photographs
    from shardline.plate_samples import drawn_pictures

    try:
        return drawn_pictures()
    except ModelError as exc:
        say(f"photographs without plates are taken: {exc}")
        return photographs


def sample_files() -> list[Path]:
    """The photographs that ship in scikit-image's wheel.

    Raises:
        ModelError: scikit-image is not installed.
    """
    spec = find_spec("skimage")
    if spec is None or spec.origin is None:
        raise ModelError("sample photographs ship in scikit-image: pip install 'shardline[samples]', or name a folder")
    data = Path(spec.origin).parent / "data"
    return [path for path in (data / name for name in _SHIPPED) if path.is_file()]


def calibration_pixels(pictures: Sequence[bytes], spec: PictureSpec) -> np.ndarray:
    """Views of each picture, whole and in part, as `uint8 [n, 3, height, width]`: differing in content and scale."""
    random = np.random.default_rng(0)
    views = [view for picture in pictures for view in _views(picture, random)]
    return np.stack([to_pixels(view, spec, Limits()) for view in views])


def golden_picture(pixels: np.ndarray, spec: PictureSpec) -> "GoldenPicture":
    """One picture's pixels, `uint8 [3, height, width]`, as a small file, and what a transformer makes of that file."""
    from shardline.partition.build import GoldenPicture

    with io.BytesIO() as buffer:
        Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0))).save(buffer, "PNG")
        png = buffer.getvalue()
    fitted = fit_picture(png, spec, Limits())
    return GoldenPicture(png=png, pixels=fitted.pixels[None], view=fitted.view)


def _views(picture: bytes, random: np.random.Generator) -> Iterator[bytes]:
    yield picture
    with Image.open(io.BytesIO(picture)) as opened:
        image = opened.convert("RGB")
    for _ in range(_PARTS):
        share = random.uniform(0.15, 0.6)
        width, height = max(1, int(image.width * share)), max(1, int(image.height * share))
        left, top = random.integers(0, image.width - width + 1), random.integers(0, image.height - height + 1)
        part = image.crop((int(left), int(top), int(left) + width, int(top) + height))
        with io.BytesIO() as buffer:
            part.save(buffer, "BMP")
            yield buffer.getvalue()
