"""Drawing on a picture: a palette of distinct colours, and frames, labels, masks and legends that suit its size."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from shardline.client.terminal import shorten

Colour = tuple[int, int, int]
Point = tuple[float, float]  # x to the right, y down
Box = tuple[float, float, float, float]  # left, top, right, bottom

# Sasha Trubetskoy's twenty distinct colours, white and black left out
PALETTE: tuple[Colour, ...] = (
    *((230, 25, 75), (60, 180, 75), (255, 225, 25), (67, 99, 216), (245, 130, 49), (145, 30, 180)),
    *((66, 212, 244), (240, 50, 230), (191, 239, 69), (250, 190, 212), (70, 153, 144), (220, 190, 255)),
    *((154, 99, 36), (255, 250, 200), (128, 0, 0), (170, 255, 195), (128, 128, 0), (255, 216, 177)),
    *((0, 0, 117), (169, 169, 169)),
)
LABEL_COLOUR: Colour = (40, 90, 200)  # of a label that stands for the whole picture

_BLACK, _WHITE = (0, 0, 0), (255, 255, 255)
_LINE_SHARE, _TEXT_SHARE = 1 / 350, 1 / 40  # line width and text height, as a share of the picture's longer side
_TEXT_SHORT_SHARE = 1 / 12  # text height is at most this share of the shorter side
_MIN_LINE_PX, _MIN_TEXT_PX = 2, 13
_ROOMY_PX = 256  # a picture with a longer side below this is enlarged, so that a label fits
_LABEL_CHARACTERS = 60  # a server may send any text
_MASK_OPACITY = 0.55
_LEGEND_GROUND, _LEGEND_EDGE = (24, 24, 28), (128, 128, 128)


def class_colours(indexes: Iterable[int]) -> dict[int, Colour]:
    """Colours of classes: by the class's index, and the next free one where two classes of a picture would share it."""
    slots: dict[int, int] = {}
    for index in sorted(set(indexes)):
        slot = index % len(PALETTE)
        while slot in slots.values() and len(slots) < len(PALETTE):
            slot = (slot + 1) % len(PALETTE)
        slots[index] = slot
    return {index: PALETTE[slot] for index, slot in slots.items()}


def ink_on(ground: Colour) -> Colour:
    """Black or white, whichever has the higher contrast to a colour by WCAG's relative luminance."""
    linear = [(value / 255 / 12.92) if value <= 10 else ((value / 255 + 0.055) / 1.055) ** 2.4 for value in ground]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return _BLACK if luminance > 0.179 else _WHITE


@dataclass(frozen=True, slots=True, kw_only=True)
class LegendRow:
    """One line of a legend: a text, and the colour of its square (None: an empty square)."""

    text: str
    colour: Colour | None


class Canvas:
    """A picture to draw on, in positions of the picture that the reply is about.

    A very small picture is enlarged by a whole factor, so that labels fit.
    """

    def __init__(self, image: Image.Image, *, bare: bool = False, scale: tuple[float, float] = (1.0, 1.0)) -> None:
        """
        Args:
            image: the upright picture, or a smaller copy of it.
            bare: draw thin frames and masks only, without labels and legends, and enlarge nothing.
            scale: pixels of `image` for one pixel of the picture that the reply is about, across and down.
        """
        self._bare = bare
        factor = 1 if bare else max(1, math.ceil(_ROOMY_PX / max(image.size)))
        image = image.convert("RGB")
        if factor > 1:
            image = image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)
        self._scale = scale[0] * factor, scale[1] * factor
        longest = max(image.size)
        self.line_px = 1 if bare else max(_MIN_LINE_PX, round(longest * _LINE_SHARE))
        self._text_px = max(_MIN_TEXT_PX, round(min(longest * _TEXT_SHARE, min(image.size) * _TEXT_SHORT_SHARE)))
        self._font = ImageFont.load_default(self._text_px)
        self._labels: list[Box] = []
        self._set(image)

    def _set(self, image: Image.Image) -> None:
        self.image = image
        self._draw = ImageDraw.Draw(image)

    def frame(self, around: Sequence[Point], middle: Point, colour: Colour) -> None:
        """Draw a frame outside of the corners `around`: the object may be hardly wider than the line."""
        out = self.line_px
        centre = self._moved(middle)
        corners = [
            (x + math.copysign(out, x - centre[0]), y + math.copysign(out, y - centre[1]))
            for x, y in map(self._moved, around)
        ]
        self._draw.line([*corners, *corners[:2]], fill=colour, width=self.line_px, joint="curve")

    def box(self, box: Box, colour: Colour) -> None:
        """Draw an upright box with a thin dark edge inside, so that it is visible on a ground of its own colour."""
        (left, top), (right, bottom) = self._moved(box[:2]), self._moved(box[2:])
        width, height = self.image.size
        # a box that ends at the picture's edge is drawn inside of it
        corners = max(0.0, left), max(0.0, top), min(width - 1.0, right), min(height - 1.0, bottom)
        if corners[2] < corners[0] or corners[3] < corners[1]:
            return
        if not self._bare:
            edge = _BLACK if ink_on(colour) == _BLACK else _WHITE
            self._draw.rectangle(corners, outline=edge, width=self.line_px + max(1, self.line_px // 2))
        self._draw.rectangle(corners, outline=colour, width=self.line_px)

    def label(self, box: Box, text: str, colour: Colour, *, outside: int = 0) -> None:
        """Write a label above a box, or below or inside it where there it would leave the picture or hide a label.

        The label keeps `outside` pixels of this canvas off the box, where the box's frame is drawn outside of it.
        """
        if self._bare:
            return
        (left, top), (_, bottom) = self._moved(box[:2]), self._moved(box[2:])
        width, height = self._label_size(text)
        lines = self.line_px
        positions = [
            *((left, top - height - outside), (left, bottom + outside)),
            *((left + lines, top + lines), (left + lines, bottom - lines - height)),
        ]
        areas = [self._inside(x, y, width, height) for x, y in positions]
        free = [area for area, (_, y) in zip(areas, positions, strict=True) if area[1] == y and self._is_free(area)]
        self._write(free[0] if free else areas[0], text, colour)

    def write(self, corner: Point, text: str, colour: Colour, *, above: bool = False) -> None:
        """Write text on a coloured rectangle whose upper (or lower) left corner is given, moved into the picture."""
        if self._bare:
            return
        width, height = self._label_size(text)
        x, y = self._moved(corner)
        self._write(self._inside(x, y - height if above else y, width, height), text, colour)

    def overlay(self, mask: NDArray[np.unsignedinteger], colours: Mapping[int, Colour]) -> None:
        """Lay a mask of class indexes, [height, width] of any size, over the picture; other classes stay clear."""
        values, where = np.unique(mask, return_inverse=True)
        table = np.array([colours.get(int(value), _BLACK) for value in values], np.uint8)
        shown = np.array([int(value) in colours for value in values])
        layer = Image.fromarray(table[where.reshape(mask.shape)])
        clear = shown[where.reshape(mask.shape)]
        opacity = np.where(clear, round(255 * _MASK_OPACITY), 0).astype(np.uint8)
        opacity[clear & _borders(mask)] = 255
        size = self.image.size
        self.image.paste(
            layer.resize(size, Image.Resampling.NEAREST),
            mask=Image.fromarray(opacity).resize(size, Image.Resampling.NEAREST),
        )

    def legend(self, rows: Sequence[LegendRow]) -> None:
        """Add a legend below the picture, in as many columns as fit; a picture narrower than a column is widened."""
        if self._bare or not rows:
            return
        margin, square = 2 * self.line_px, self._text_px
        texts = [_shown(row.text) for row in rows]
        cell = math.ceil(max(self._text_size(text)[0] for text in texts)) + square + 4 * margin
        line = round(self._text_px * 1.5)
        columns = max(1, self.image.width // cell)
        height = math.ceil(len(rows) / columns) * line + 2 * margin
        taller = Image.new("RGB", (max(self.image.width, cell), self.image.height + height), _LEGEND_GROUND)
        taller.paste(self.image)
        upper = self.image.height + margin
        self._set(taller)
        for number, (row, text) in enumerate(zip(rows, texts, strict=True)):
            x, y = margin + number % columns * cell, upper + number // columns * line
            middle = y + line / 2
            area = x, middle - square / 2, x + square, middle + square / 2
            self._draw.rectangle(area, fill=row.colour, outline=_LEGEND_EDGE)
            self._draw.text((x + square + margin, middle), text, font=self._font, fill=_WHITE, anchor="lm")

    def _moved(self, point: Sequence[float]) -> Point:
        return point[0] * self._scale[0], point[1] * self._scale[1]

    def _text_size(self, text: str) -> tuple[float, float]:
        left, top, right, bottom = self._draw.textbbox((0, 0), text, font=self._font)
        return right - left, bottom - top

    def _label_size(self, text: str) -> tuple[float, float]:
        width, height = self._text_size(_shown(text))
        margin = 2 * self.line_px
        return width + 2 * margin, height + 2 * margin

    def _inside(self, x: float, y: float, width: float, height: float) -> Box:
        x = min(max(0.0, x), max(0.0, self.image.width - width))
        y = min(max(0.0, y), max(0.0, self.image.height - height))
        return x, y, x + width, y + height

    def _is_free(self, area: Box) -> bool:
        return not any(
            area[0] < other[2] and other[0] < area[2] and area[1] < other[3] and other[1] < area[3]
            for other in self._labels
        )

    def _write(self, area: Box, text: str, colour: Colour) -> None:
        self._labels.append(area)
        shown, margin = _shown(text), 2 * self.line_px
        left, top, _, _ = self._draw.textbbox((0, 0), shown, font=self._font)
        self._draw.rectangle(area, fill=colour)
        at = area[0] + margin - left, area[1] + margin - top
        self._draw.text(at, shown, font=self._font, fill=ink_on(colour))


def _shown(text: str) -> str:
    return "\n".join(shorten(line, _LABEL_CHARACTERS) for line in text.split("\n"))


def _borders(mask: NDArray[np.unsignedinteger]) -> NDArray[np.bool_]:
    """Pixels of a mask [height, width] with another class to the right or below: bool [height, width]."""
    borders = np.zeros(mask.shape, bool)
    borders[:, :-1] |= mask[:, 1:] != mask[:, :-1]
    borders[:-1] |= mask[1:] != mask[:-1]
    return borders
