"""Draw a reply into its picture, save the result and show it in a viewer."""

import math
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from shardline.client.neighbours import read_neighbours
from shardline.client.pictures import open_upright
from shardline.client.plates import Plate, Point, plates_in
from shardline.client.target import Reply
from shardline.client.terminal import printable
from shardline.wire.errors import FileError, UsageError

_READ, _UNREAD, _LABEL = (0, 200, 80), (255, 140, 0), (40, 90, 200)  # RGB of plates, and of other tasks' labels
_INK = (255, 255, 255)
_LINE_SHARE, _TEXT_SHARE = 1 / 350, 1 / 40  # line width and text height, as a share of the picture's longer side
_MIN_LINE_PX, _MIN_TEXT_PX = 2, 13
_LABEL_CHARACTERS = 60  # a server may send any text
_STDIN_NAME = "picture"  # file name of a picture that came on stdin


def mark(picture: bytes, reply: Reply) -> Image.Image:
    """Draw a reply into its picture, made upright and RGB: plates as frames with their text, else the best label.

    For a retrieval the label is what the neighbours vote for.

    Raises:
        PictureError: the picture cannot be decoded here.
    """
    image = open_upright(picture).convert("RGB")
    pen = _Pen(image)
    plates = plates_in(reply.predictions)
    if plates is None:
        pen.write((0, 0), "\n".join(filter(None, map(_label, reply.predictions))) or "no label", _LABEL)
    for plate in reversed(plates or ()):  # the highest score on top
        _mark_plate(pen, plate)
    return image


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
    if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        raise UsageError("--show: there is no display here: give --save FILE")
    from PIL import ImageShow  # it searches for viewers while it is imported

    if not ImageShow.show(image):
        raise UsageError("--show: no program to show pictures was found here (such as xdg-open): give --save FILE")


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


def output_paths(to: Path, pictures: Sequence[Path]) -> Iterator[Path]:
    """File for each picture: the path itself, or a PNG in that folder, numbered where names are the same."""
    taken: set[str] = set()
    for picture in pictures:
        if not to.is_dir():
            yield to
            continue
        stem = picture.stem if picture.stem.strip("-") else _STDIN_NAME
        name, number = stem, 1
        while name.lower() in taken:
            number += 1
            name = f"{stem}-{number}"
        taken.add(name.lower())
        yield to / f"{name}.png"


class _Pen:
    """Draws lines and text on one picture, in widths and sizes that suit its size."""

    def __init__(self, image: Image.Image) -> None:
        self._draw = ImageDraw.Draw(image)
        self._size = image.size
        longest = max(image.size)
        self.line_px = max(_MIN_LINE_PX, round(longest * _LINE_SHARE))
        self._font = ImageFont.load_default(max(_MIN_TEXT_PX, round(longest * _TEXT_SHARE)))

    def frame(self, around: Sequence[Point], middle: Point, colour: tuple[int, int, int]) -> None:
        """Draw a frame outside of the corners `around`: the plate may be hardly wider than the line."""
        out = self.line_px
        corners = [(x + math.copysign(out, x - middle[0]), y + math.copysign(out, y - middle[1])) for x, y in around]
        self._draw.line([*corners, *corners[:2]], fill=colour, width=self.line_px, joint="curve")

    def write(self, corner: Point, text: str, colour: tuple[int, int, int], *, above: bool = False) -> None:
        """Write text on a coloured rectangle whose upper (or lower) left corner is given, moved into the picture."""
        margin = 2 * self.line_px
        left, top, right, bottom = self._draw.textbbox((0, 0), text, font=self._font)
        width, height = right - left + 2 * margin, bottom - top + 2 * margin
        x = min(max(0.0, corner[0]), max(0.0, self._size[0] - width))
        y = corner[1] - height if above else corner[1]
        y = min(max(0.0, y), max(0.0, self._size[1] - height))
        self._draw.rectangle((x, y, x + width, y + height), fill=colour)
        self._draw.text((x + margin - left, y + margin - top), text, font=self._font, fill=_INK)


def _mark_plate(pen: _Pen, plate: Plate) -> None:
    colour = _READ if plate.whole else _UNREAD
    pen.frame(plate.quad, plate.center, colour)
    corner = min(x for x, _ in plate.quad), min(y for _, y in plate.quad) - pen.line_px
    pen.write(corner, f"{_label_text(plate.text)}  {plate.score:.0%}", colour, above=True)


def _label(prediction: object) -> str | None:
    retrieved = read_neighbours(prediction)
    if retrieved is not None:
        return None if retrieved.vote is None else _label_text(retrieved.vote)
    if not isinstance(prediction, dict) or "label" not in prediction:
        return None
    label, score = _label_text(str(prediction["label"])), prediction.get("score")
    return f"{label}  {score:.0%}" if isinstance(score, float) else label


def _label_text(text: str) -> str:
    return printable(text)[:_LABEL_CHARACTERS]
