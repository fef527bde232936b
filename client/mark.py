"""Draw a reply into its picture, save the result and show it in a viewer."""

import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from PIL import Image

from shardline.client.canvas import Canvas
from shardline.client.masks import mask_image, read_segmentation
from shardline.client.pictures import Source, open_upright
from shardline.client.replies import read_prediction
from shardline.client.target import Reply
from shardline.wire.errors import FileError, UsageError

_STDIN_NAME = "picture"  # file name of a picture that came on stdin
MASK_SUFFIX = ".mask.png"  # of the file of a mask, beside the picture with the overlay


def mark(picture: bytes, reply: Reply) -> Image.Image:
    """Draw a reply into its picture, made upright and RGB: plates and objects as frames, masks as overlays, or labels.

    A very small picture is enlarged, and a legend is added below a mask.

    Raises:
        PictureError: the picture cannot be decoded here.
        PredictorError: a mask cannot be decoded.
        UsageError: the reply has nothing to draw.
    """
    canvas = Canvas(open_upright(picture))
    for prediction in reply.predictions:
        read_prediction(prediction).mark(canvas)
    return canvas.image


def masks_of(reply: Reply) -> list[Image.Image]:
    """The masks of a reply, as pictures of class indexes.

    Raises:
        PredictorError: a mask cannot be decoded.
    """
    return [mask_image(found) for prediction in reply.predictions if (found := read_segmentation(prediction))]


def save_reply(picture: bytes, reply: Reply, path: Path) -> None:
    """Write a picture with its reply drawn into it; beside it, as NAME.mask.png, a mask's class indexes.

    Raises:
        FileError: a file cannot be written.
        ShardlineError: as `mark`.
    """
    save(mark(picture, reply), path)
    for mask in masks_of(reply):
        save(mask, path.with_suffix(MASK_SUFFIX))


def save(image: Image.Image, path: Path) -> None:
    """Write an image in the format that the file's suffix names.

    Raises:
        FileError: the file cannot be written.
    """
    try:
        image.save(path)
    except (OSError, ValueError) as exc:
        raise FileError(f"{path}: cannot be written ({getattr(exc, 'strerror', None) or exc})") from exc


def show(image: Image.Image) -> None:
    """Show an image in the system's viewer.

    Raises:
        UsageError: there is no display, or no viewer.
    """
    if not has_display():
        raise UsageError("--show: there is no display here: give --save FILE")
    from PIL import ImageShow  # it searches for viewers while it is imported

    if not ImageShow.show(image):
        raise UsageError("--show: no program to show pictures was found here (such as xdg-open): give --save FILE")


def has_display() -> bool:
    """Tell whether a viewer can open a window: on Linux, whether a display is set."""
    return not sys.platform.startswith("linux") or any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))


def check_saving(to: Path, count: int) -> None:
    """Check that `count` pictures can be saved to a path, and create the folder if one is needed.

    Raises:
        UsageError: a file for several pictures, or a suffix that names no format.
        FileError: a folder that cannot be created.
    """
    if count > 1 or not to.suffix or to.is_dir():
        if to.suffix.lower() in Image.registered_extensions() and not to.is_dir():
            raise UsageError(f"--save {to}: {count} pictures need a folder: give one")
        try:
            to.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            raise FileError(f"--save {to}: no folder can be created there ({exc.strerror})") from exc
    elif Image.registered_extensions().get(to.suffix.lower()) not in Image.SAVE:
        raise UsageError(f"--save {to}: {to.suffix} names no picture format; allowed are .png, .jpg, .webp and others")


def output_paths(to: Path, pictures: Sequence[Source]) -> Iterator[Path]:
    """File for each picture: the path itself, or a PNG in that folder, numbered where names are the same."""
    taken: set[str] = set()
    for picture in pictures:
        if not to.is_dir():
            yield to
            continue
        stem = picture.stem if picture.stem.strip("-") else _STDIN_NAME
        name, number = stem, 1
        while taken & _file_names(name):
            number += 1
            name = f"{stem}-{number}"
        taken |= _file_names(name)
        yield to / f"{name}.png"


def _file_names(stem: str) -> set[str]:
    """Files that a picture of this name may get: on some systems, capitals do not distinguish names."""
    return {f"{stem}.png".lower(), f"{stem}{MASK_SUFFIX}".lower()}
