"""Sample pictures to calibrate, verify and try with: scikit-image's photographs, and license plates drawn onto them."""

import base64
import io
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from shardline.predictors.inputs import read_inputs
from shardline.predictors.picture import fit_picture, open_picture, to_pixels
from shardline.storage.bundle import InputSpec, PictureSpec
from shardline.training.plates.backgrounds import Backgrounds
from shardline.training.plates.fonts import families
from shardline.training.plates.picture import PlateStream
from shardline.training.plates.scene import Scene
from shardline.wire.errors import FileError, MissingPackageError
from shardline.wire.frame import named_dtype
from shardline.wire.limits import Limits
from shardline.wire.v1 import PredictRequest

if TYPE_CHECKING:
    from shardline.partition.build import GoldenPicture

# Photographs in scikit-image's own wheel; its other pictures are downloaded.
_PHOTOGRAPHS = (
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
_CROPS = 3  # further views of each picture for calibration
_CALIBRATION_PIXELS = 48 * 512 * 512  # of all views together: a network's activations take a hundred times as much
_CALIBRATED = 32  # pictures at most
_PLATES, _PLATES_SEED = 12, 6
# easy to read: the pictures are to show what a chain does with plates, not how hard a plate can be
_PLATES_SCENE = Scene(
    size=(640, 480),
    plates=(1, 2),
    empty=0.0,
    least_width_px=130,
    most_width=0.5,
    rotation_deg=8,
    tilt_deg=15,
    wear=0.1,
    camera=0.1,
    covered=0.0,
    cut_off=0.0,
    signs=0.0,
)


def sample_files() -> list[Path]:
    """The photographs that ship in scikit-image's wheel.

    Raises:
        MissingPackageError: scikit-image is not installed.
    """
    spec = find_spec("skimage")
    if spec is None or spec.origin is None:
        raise MissingPackageError(
            "sample photographs ship in scikit-image: pip install 'shardline[samples]', or name a folder"
        )
    data = Path(spec.origin).parent / "data"
    return [path for path in (data / name for name in _PHOTOGRAPHS) if path.is_file()]


def sample_pictures() -> list[bytes]:
    """The encoded photographs that ship in scikit-image's wheel.

    Raises:
        MissingPackageError: scikit-image is not installed.
    """
    return [path.read_bytes() for path in sample_files()]


def task_samples(task: str, report: Callable[[str], None] = lambda _: None) -> dict[str, bytes]:
    """Encoded pictures for a task by name: drawn license plates for plates, else photographs.

    Args:
        report: is called where fonts are missing, so that photographs without plates are taken.

    Raises:
        MissingPackageError: scikit-image is not installed.
    """
    photographs = {path.name: path.read_bytes() for path in sample_files()}
    if task != "plates":
        return photographs
    try:
        return drawn_pictures()
    except (MissingPackageError, FileError) as exc:
        report(f"photographs without plates are taken: {exc}")
        return photographs


def drawn_pictures() -> dict[str, bytes]:
    """License plates drawn onto scikit-image's photographs, always the same ones: PNG files by name.

    Raises:
        MissingPackageError: scikit-image or the fonts are not installed.
    """
    stream = PlateStream(
        seed=_PLATES_SEED,
        scene=_PLATES_SCENE,
        fonts=families("train"),
        backgrounds=Backgrounds(files=tuple(sample_files())),
    )
    return {f"plates {index}": _encoded(Image.fromarray(stream.draw(index).pixels), "PNG") for index in range(_PLATES)}


def calibration_pixels(pictures: Sequence[bytes], spec: PictureSpec) -> NDArray[np.uint8]:
    """Views of each encoded picture, whole and cropped, differing in content and scale: uint8 [n, channels, h, w].

    Of many pictures some are taken, evenly spread. Of large inputs there are fewer views, so that they fit into memory:
    every picture once, or at least two of them.
    """
    random = np.random.default_rng(0)
    taken = np.linspace(0, len(pictures) - 1, min(_CALIBRATED, len(pictures))).round().astype(int)
    views = [list(_views(pictures[index], spec, random)) for index in taken]
    most = max(2, _CALIBRATION_PIXELS // (spec.height * spec.width))
    if sum(map(len, views)) > most:
        views = [[view] for turn in zip(*views, strict=True) for view in turn]
    chosen = [view for of_picture in views for view in of_picture][:most]
    return np.stack([to_pixels(view, spec, Limits()) for view in chosen])


def golden_picture(pixels: NDArray[np.uint8], spec: PictureSpec, inputs: Sequence[InputSpec] = ()) -> "GoldenPicture":
    """A golden picture from pixels, uint8 [channels, height, width]: a PNG file, and what a transformer makes of it.

    Args:
        inputs: the model's inputs beside the picture, which get sample values.
    """
    from shardline.partition.build import GoldenPicture
    from shardline.partition.sampling import sample_inputs

    png = _png(pixels)
    fitted = fit_picture(png, spec, Limits())
    samples = sample_inputs(fitted.pixels[None], [(named_dtype(given.dtype), given.shape) for given in inputs])
    further = {given.name: _json_value(value[0], given) for given, value in zip(inputs, samples, strict=True)}
    request = PredictRequest(pictures=(png,), inputs={name: (value,) for name, value in further.items()})
    return GoldenPicture(
        png=png,
        pixels=fitted.pixels[None],
        view=fitted.view,
        inputs=tuple(read_inputs(request, inputs, spec, Limits()).values()),
        further=further,
    )


def _json_value(value: NDArray[Any], spec: InputSpec) -> dict[str, str]:
    """Encode one instance's input, of the spec's dtype and shape, as a v1 request gives it."""
    data = _png(value) if spec.kind == "picture" else value.tobytes()
    return {"b64": base64.b64encode(data).decode()}


def _png(pixels: NDArray[np.uint8]) -> bytes:
    """Encode uint8 [channels, height, width] of 1, 3 or 4 channels."""
    colours_last = pixels[0] if len(pixels) == 1 else np.ascontiguousarray(pixels.transpose(1, 2, 0))
    return _encoded(Image.fromarray(colours_last), "PNG")


def _views(picture: bytes, spec: PictureSpec, random: np.random.Generator) -> Iterator[bytes]:
    yield picture
    image = open_picture(picture, spec, Limits()).convert("RGB")
    for _ in range(_CROPS):
        share = random.uniform(0.15, 0.6)
        width, height = max(1, int(image.width * share)), max(1, int(image.height * share))
        left, top = random.integers(0, image.width - width + 1), random.integers(0, image.height - height + 1)
        yield _encoded(image.crop((int(left), int(top), int(left) + width, int(top) + height)), "BMP")


def _encoded(image: Image.Image, file_format: str) -> bytes:
    with io.BytesIO() as buffer:
        image.save(buffer, file_format)
        return buffer.getvalue()
