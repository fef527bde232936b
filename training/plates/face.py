"""The face of a plate, flat, large and from the front: an RGBA picture, and the outline of everything on it.

Outlines are points at the very edge of the ink. A projection maps their convex hull onto the hull of what is seen, so
the smallest and largest coordinates of the projected points are the exact box, however the plate is oriented.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from shardline.tasks.plates.grammar import PlateType
from shardline.tasks.plates.text import PlateText
from shardline.training.plates.degradation import light, thin_paint, wear
from shardline.training.plates.fonts import INK
from shardline.training.plates.style import Area, PlacedGlyph, PlateStyle, arrange, luma, place_row, rows_of

Points = NDArray[np.float64]  # [n, 2], x and y in pixels; a pixel's centre is at .5

_MARGIN = 0.14  # around the plate, in heights, for a holder
_ARC_POINTS = 8  # of a quarter circle
_BOLT_RADIUS = 0.035


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnCharacter:
    """A character on a face."""

    char: str
    group: int
    outline: Points
    placed: PlacedGlyph


@dataclass(frozen=True, slots=True, kw_only=True)
class PlateFace:
    """A drawn face."""

    image: Image.Image  # RGBA, the plate with a margin around it
    board: Area  # the plate in it
    outline: Points  # of the plate, round corners included
    characters: tuple[DrawnCharacter, ...]
    aspect: float
    contrast: float  # between ink and ground, of the faintest character, 0 to 255 in luma; 255 without characters


@dataclass(frozen=True, slots=True, kw_only=True)
class _Frame:
    """Sizes of a face in its pixels."""

    size: tuple[int, int]
    board: Area
    room: Area  # for the characters
    unit_px: float  # the plate's height


def draw_face(
    random: np.random.Generator,
    text: PlateText,
    plate_type: PlateType,
    style: PlateStyle,
    height_px: float,
    level: float,
) -> PlateFace:
    """Draw the face of a plate, `height_px` high; `level` of wear and light is 0 to 1."""
    frame = _frame(style, height_px)
    placed = arrange(rows_of(text, plate_type), style, frame.room, frame.unit_px)
    return _draw(random, placed, style, frame, level, in_one_row=len(plate_type.rows) == 1)


def draw_sign(
    random: np.random.Generator, rows: Sequence[str], style: PlateStyle, height_px: float, level: float
) -> PlateFace:
    """Draw a board that is no plate, with two rows of writing, one, or none."""
    frame = _frame(style, height_px)
    return _draw(random, _written(rows, style, frame), style, frame, level, in_one_row=False)


def _written(rows: Sequence[str], style: PlateStyle, frame: _Frame) -> list[PlacedGlyph]:
    written = [row for row in rows if row]
    if len(written) == 2:
        return arrange([[(0, written[0])], [(1, written[1])]], style, frame.room, frame.unit_px)
    height_px = style.main_height * frame.unit_px
    return [placed for row in written for placed in place_row([(0, row, 1.0)], style, frame.room, height_px, "centre")]


def _frame(style: PlateStyle, height_px: float) -> _Frame:
    unit = max(8, round(height_px))
    width, margin = round(unit * style.aspect), round(unit * _MARGIN) + 2
    edge = (style.border and style.inset + style.border) + style.margin
    left = right = edge * unit
    if style.strip:
        left, right = (
            left + style.strip.width * unit * flag for flag in (style.strip.at_left, not style.strip.at_left)
        )
    board = Area(left=margin, top=margin, right=margin + width, bottom=margin + unit)
    room = Area(
        left=board.left + left,
        top=board.top + edge * unit,
        right=board.right - right,
        bottom=board.bottom - edge * unit,
    )
    return _Frame(size=(width + 2 * margin, unit + 2 * margin), board=board, room=room, unit_px=unit)


def _draw(
    random: np.random.Generator,
    placed: list[PlacedGlyph],
    style: PlateStyle,
    frame: _Frame,
    level: float,
    *,
    in_one_row: bool,
) -> PlateFace:
    image = _board(style, frame)
    paint, characters = _paint(placed, frame.size)
    for group in range(1, 1 + max((glyph.group for glyph in placed), default=0)) if in_one_row else ():
        _separator(ImageDraw.Draw(paint), style, placed, group)
    if random.random() < 0.4 * level:
        paint = thin_paint(random, paint, level)
    if style.emboss:
        _emboss(image, paint, style, frame.unit_px)
    image.paste(style.ink, mask=paint)
    _bolts(image, style, frame)
    image = light(random, wear(random, image, level), level)
    contrast = _contrast(image, paint, placed)
    image.putalpha(_alpha(style, frame))
    return PlateFace(
        image=image,
        board=frame.board,
        outline=_rounded(frame.board, style.radius * frame.unit_px),
        characters=tuple(characters),
        aspect=style.aspect,
        contrast=contrast,
    )


def _board(style: PlateStyle, frame: _Frame) -> Image.Image:
    """The plate without its characters, mode RGB; beyond its edge lies the holder's colour, or its own."""
    unit = frame.unit_px
    image = Image.new("RGB", frame.size, (28, 28, 30) if style.holder else style.ground)
    draw = ImageDraw.Draw(image)
    radius = style.radius * unit
    draw.rounded_rectangle(_inside(frame.board, 0), radius, fill=style.ground)
    if style.strip:
        _strip(draw, style, frame)
    if style.border:
        inset, width = style.inset * unit, max(1, round(style.border * unit))
        draw.rounded_rectangle(_inside(frame.board, inset), max(0.0, radius - inset), outline=style.rim, width=width)
    return image


def _strip(draw: ImageDraw.ImageDraw, style: PlateStyle, frame: _Frame) -> None:
    """The coloured band, with a ring in its upper half in place of a country's emblem."""
    assert style.strip is not None
    board, width = frame.board, max(1.0, style.strip.width * frame.unit_px)
    left = board.left if style.strip.at_left else board.right - width
    draw.rectangle((left, board.top, left + width - 1, board.bottom - 1), fill=style.strip.colour)
    x, y, radius = left + width / 2, board.top + 0.3 * frame.unit_px, 0.25 * width
    pale = (230, 215, 120) if luma(style.strip.colour) < 128 else (30, 30, 30)
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), outline=pale, width=max(1, int(radius / 3)))


def _paint(placed: list[PlacedGlyph], size: tuple[int, int]) -> tuple[Image.Image, list[DrawnCharacter]]:
    """Draw the mask of all characters, mode L, and find the outline of each."""
    paint, characters = Image.new("L", size), []
    for character in placed:
        size_px = character.width, character.height
        mask = character.glyph.mask.resize(size_px, Image.Resampling.BILINEAR, reducing_gap=2.0)
        paint.paste(255, (character.left, character.top), mask)
        outline = _edge(np.asarray(mask)) + np.array((character.left, character.top))
        characters.append(DrawnCharacter(char=character.char, group=character.group, outline=outline, placed=character))
    return paint, characters


def _edge(mask: NDArray[np.uint8]) -> Points:
    """The corners of the first and last pixel of ink in each row of a mask, uint8 [height, width] -> [n, 2]."""
    ink = mask >= INK
    rows = np.flatnonzero(ink.any(axis=1))
    if not rows.size:  # so small that no pixel is half covered
        ink, rows = np.ones_like(ink), np.arange(len(mask))
    first = ink[rows].argmax(axis=1)
    last = mask.shape[1] - ink[rows, ::-1].argmax(axis=1)
    across = np.concatenate((first, last, first, last))
    down = np.concatenate((rows, rows, rows + 1, rows + 1))
    return np.column_stack((across, down)).astype(np.float64)


def _rounded(board: Area, radius: float) -> Points:
    """The outline of a rectangle with round corners, float64 [n, 2]."""
    angle = np.linspace(0, np.pi / 2, _ARC_POINTS)
    arc = radius * (1 - np.array([np.cos(angle), np.sin(angle)]).T)  # from the left edge to the top edge
    corners = []
    for x, right in ((board.left, 1), (board.right, -1)):
        for y, down in ((board.top, 1), (board.bottom, -1)):
            corners.append((x, y) + arc * (right, down))
    return np.concatenate(corners)


def _separator(draw: ImageDraw.ImageDraw, style: PlateStyle, placed: list[PlacedGlyph], group: int) -> None:
    """Draw the separator in the gap before a group of a plate with one row."""
    left = max(glyph.left + glyph.width for glyph in placed if glyph.group == group - 1)
    right = min(glyph.left for glyph in placed if glyph.group == group)
    bottom, top = max(glyph.top + glyph.height for glyph in placed), min(glyph.top for glyph in placed)
    height, x, y = bottom - top, (left + right) / 2, (top + bottom) / 2
    radius = min(0.12 * height, (right - left) / 4)
    if style.separator == "dot":
        draw.ellipse((x - radius / 2, y - radius / 2, x + radius / 2, y + radius / 2), fill=255)
    elif style.separator == "ring":
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), outline=160, width=max(1, int(radius / 3)))
    elif style.separator == "bar":
        draw.rectangle((x - 1.3 * radius, y - radius / 4, x + 1.3 * radius, y + radius / 4), fill=255)


def _emboss(image: Image.Image, paint: Image.Image, style: PlateStyle, unit_px: float) -> None:
    """Emboss the characters: light on one edge, dark on the other."""
    depth = max(1, round(0.012 * style.emboss * unit_px))
    soft = paint.filter(ImageFilter.BoxBlur(depth / 2))
    for shift, grey in ((depth, 40), (-depth, 250)):
        edge = Image.new("L", paint.size)
        edge.paste(soft.point([int(n * 0.45 * style.emboss) for n in range(256)]), (shift, shift))
        image.paste((grey, grey, grey), mask=edge)


def _bolts(image: Image.Image, style: PlateStyle, frame: _Frame) -> None:
    """Draw two bolts at the sides or four in the corners, near the edge."""
    draw, board, radius = ImageDraw.Draw(image), frame.board, _BOLT_RADIUS * frame.unit_px
    inset = 1.6 * radius
    sides = [board.left + inset, board.right - inset]
    rows = {0: [], 2: [(board.top + board.bottom) / 2], 4: [board.top + inset, board.bottom - inset]}[style.bolts]
    for x in sides:
        for y in rows:
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=(150, 150, 150), outline=(60, 60, 60))


def _contrast(image: Image.Image, paint: Image.Image, placed: list[PlacedGlyph]) -> float:
    """The smallest difference in luma between paint and background, in and around each character's rectangle."""
    grey, ink = np.asarray(image.convert("L")), np.asarray(paint) >= INK
    differences = [255.0]
    for box in placed:
        pad = 2 + box.height // 8
        where = np.s_[box.top - pad : box.top + box.height + pad, box.left - pad : box.left + box.width + pad]
        values, painted = grey[where], ink[where]
        count, total, inside = int(painted.sum()), int(values.sum()), int(values[painted].sum())
        if count:
            differences.append(abs(inside / count - (total - inside) / (values.size - count)))
    return min(differences)


def _alpha(style: PlateStyle, frame: _Frame) -> Image.Image:
    """The alpha channel of a face: the plate and its holder are opaque, and nothing else."""
    alpha = Image.new("L", frame.size)
    grown = -style.holder * frame.unit_px
    box = _inside(frame.board, grown)
    ImageDraw.Draw(alpha).rounded_rectangle(box, style.radius * frame.unit_px, fill=255)
    return alpha


def _inside(area: Area, by: float) -> Any:
    """The area shrunk by `by`, as Pillow's rectangle, whose last pixel is drawn, too."""
    return (round(area.left + by), round(area.top + by), round(area.right - by) - 1, round(area.bottom - by) - 1)
