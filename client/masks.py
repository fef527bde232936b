"""Segmentations in a reply: a mask of class indexes, as shares for a terminal and as an overlay on the picture."""

import base64
import binascii
import io
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from shardline.client.canvas import Canvas, Colour, LegendRow, class_colours
from shardline.client.terminal import TerminalStyle, bar, percent, shorten
from shardline.wire.errors import PredictorError
from shardline.wire.limits import PIXELS
from shardline.wire.rle import decode_classes

_LABEL_COLUMNS = 40
_VOID, _WIDE_VOID = 255, 65_535  # of pixels without a class, in masks of 8 and of 16 bits
_VOID_COLOUR: Colour = (90, 90, 90)
_BACKGROUND = ("background", "__background__")  # labels of what stays clear in the overlay


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassShare:
    """One class of a mask, and the share of the picture's pixels that have it, from 0 to 1."""

    label: str
    index: int
    share: float

    @property
    def is_background(self) -> bool:
        return self.label.strip().lower() in _BACKGROUND


@dataclass(frozen=True, slots=True, kw_only=True)
class Segmentation:
    """One picture's mask, still encoded, its height and width, and its classes, the largest share first."""

    mask: Mapping[str, Any]
    size: tuple[int, int]
    classes: tuple[ClassShare, ...]

    @property
    def colours(self) -> dict[int, Colour]:
        """Colour of each class that is no background."""
        return class_colours(item.index for item in self.classes if not item.is_background)

    def decode(self) -> NDArray[np.unsignedinteger]:
        """Decode the mask: class indexes, uint8 or uint16 [height, width].

        Raises:
            PredictorError: neither a greyscale PNG nor COCO's RLE, or not of the size that the reply states.
        """
        name = str(self.mask.get("format"))
        if name not in _DECODERS:
            raise PredictorError(f"the reply's mask has the format {name!r}; known: {', '.join(_DECODERS)}", status=502)
        try:
            return _DECODERS[name](self.mask, self.size)
        except (AttributeError, binascii.Error, OSError, SyntaxError, TypeError, ValueError) as exc:
            height, width = self.size
            raise PredictorError(
                f"the reply's mask is not one of {width} x {height} pixels ({exc})", status=502
            ) from exc


def _decode_png(mask: Mapping[str, Any], size: tuple[int, int]) -> NDArray[np.unsignedinteger]:
    image = Image.open(io.BytesIO(base64.b64decode(mask["b64"], validate=True)), formats=("PNG",))
    if image.size != size[::-1] or math.prod(image.size) > PIXELS or image.mode not in ("L", "I;16"):
        raise ValueError(f"it is {image.size[0]} x {image.size[1]} of mode {image.mode}")
    return np.asarray(image)


def _decode_rle(mask: Mapping[str, Any], size: tuple[int, int]) -> NDArray[np.unsignedinteger]:
    if mask.get("size") != list(size) or math.prod(size) > PIXELS:
        raise ValueError(f"its size is {mask.get('size')}")
    counts = {int(index): str(text) for index, text in mask["counts"].items()}
    wide = max(counts, default=0) >= _VOID
    return decode_classes(counts, size, _WIDE_VOID if wide else _VOID, np.uint16 if wide else np.uint8)


_DECODERS: Mapping[str, Callable[[Mapping[str, Any], tuple[int, int]], NDArray[np.unsignedinteger]]] = {
    "png": _decode_png,
    "rle": _decode_rle,
}


def read_segmentation(prediction: object) -> Segmentation | None:
    """Read one picture's prediction; None if it is another task's."""
    if not isinstance(prediction, dict) or not isinstance(prediction.get("mask"), dict):
        return None
    size, classes = prediction.get("size"), prediction.get("classes")
    if not isinstance(size, list) or len(size) != 2 or not all(map(_is_count, size)) or not isinstance(classes, list):
        return None
    read = [_read(item) for item in classes]
    if None in read:
        return None
    return Segmentation(
        mask=prediction["mask"], size=(size[0], size[1]), classes=tuple(item for item in read if item is not None)
    )


def share_lines(found: Segmentation, style: TerminalStyle) -> list[str]:
    """A line for each class: its colour in the overlay, its label, its share of the picture, and a bar."""
    if not found.classes:
        return ["  no class"]
    labels = [shorten(item.label, _LABEL_COLUMNS) for item in found.classes]
    width, colours = max(map(len, labels)), found.colours
    return [
        f"  {style.swatch(colours.get(item.index))}{label:<{width}}  {percent(item.share)}  "
        f"{style.faint(bar(item.share, style))}".rstrip()
        for item, label in zip(found.classes, labels, strict=True)
    ]


def mark_segmentation(canvas: Canvas, found: Segmentation) -> None:
    """Lay the mask over the picture, without the background, and add a legend of classes and shares below it.

    Raises:
        PredictorError: the mask cannot be decoded.
    """
    colours = found.colours
    canvas.overlay(found.decode(), colours)
    canvas.legend(
        [
            LegendRow(text=f"{item.label.strip('_')}  {item.share:.1%}", colour=colours.get(item.index))
            for item in found.classes
        ]
    )


def mask_image(found: Segmentation) -> Image.Image:
    """The mask as a picture to save: its pixels are class indexes, shown in the overlay's colours by a palette.

    A mask of more than 256 classes is 16-bit greyscale.

    Raises:
        PredictorError: the mask cannot be decoded.
    """
    mask = found.decode()
    if mask.dtype != np.uint8:
        return Image.fromarray(mask)
    image = Image.fromarray(mask).convert("P")
    image.frombytes(mask.tobytes())  # convert() may renumber
    image.putpalette(_palette(found.colours, {item.index for item in found.classes if item.is_background}))
    return image


def _palette(colours: dict[int, Colour], background: Sequence[int] | set[int]) -> list[int]:
    """256 colours in a row, as Pillow takes them; the background is black, what has no class is grey."""
    rows = [(0, 0, 0) if index in background else colours.get(index, _VOID_COLOUR) for index in range(256)]
    return [value for colour in rows for value in colour]


def _read(reported: object) -> ClassShare | None:
    if not isinstance(reported, dict):
        return None
    label, index, share = (reported.get(key) for key in ("label", "index", "share"))
    if not isinstance(label, str) or not isinstance(index, int) or not isinstance(share, int | float):
        return None
    return ClassShare(label=label, index=index, share=float(share))


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0
