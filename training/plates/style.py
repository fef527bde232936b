"""Random styles of license plates (proportions, colours, border, font), and the layout of their characters.

Lengths of a style are in heights of the plate. Shares and ranges are invented, and wide on purpose: a detector that has
seen only one country's plates reads no other's.

A row is as wide as its characters, stretched as the style says, and the gaps between them. Where there is less room,
first the row is made narrower, down to what can still be read, then everything in it smaller.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, TypeVar

import numpy as np

from shardline.tasks.plates.grammar import PlateGrammar, PlateType
from shardline.tasks.plates.text import PlateText
from shardline.training.plates.degradation import Colour
from shardline.training.plates.fonts import Font, Glyph, glyph, random_font
from shardline.wire.errors import UsageError

_T = TypeVar("_T")
Align = Literal["centre", "left", "spread"]
Level = Literal["top", "middle", "bottom"]

# background, ink and relative frequency; the rest is any pair of colours with enough contrast
_PAIRS: tuple[tuple[Colour, Colour, int], ...] = (
    ((240, 240, 235), (20, 20, 22), 8),  # white, black
    ((242, 196, 40), (20, 20, 22), 3),  # yellow, black
    ((240, 240, 240), (25, 45, 130), 2),
    ((240, 240, 240), (170, 25, 30), 2),
    ((240, 240, 240), (15, 95, 50), 1),
    ((25, 60, 150), (240, 240, 240), 2),
    ((170, 25, 30), (240, 240, 240), 2),
    ((20, 105, 60), (240, 240, 240), 2),
    ((25, 25, 28), (235, 235, 235), 2),
    ((215, 120, 30), (20, 20, 22), 1),
    ((150, 195, 225), (15, 20, 40), 1),
)
_PAIR_INDEXES = [index for index, (*_, share) in enumerate(_PAIRS) for _ in range(share)]
_ANY_PAIR = 0.25  # share of plates with any pair of colours
_LEAST_CONTRAST = 95  # of 255, in luma
_STRIPS: tuple[Colour, ...] = ((20, 50, 150), (170, 30, 40), (20, 110, 60), (30, 30, 34))

_LEAST_STRETCH = 0.72
_LEAST_ASPECT, _MOST_ASPECT = 0.36, 0.85  # of a zero, width / height
_WIDEST_SPREAD = 0.5  # largest widening of a gap where a row is spread, in heights of a zero
_LINE_GAP = 0.06  # between the rows of a regular plate, at least, in heights of the plate


@dataclass(frozen=True, slots=True, kw_only=True)
class Strip:
    """The coloured band at one end that many countries have."""

    at_left: bool
    width: float
    colour: Colour


@dataclass(frozen=True, slots=True, kw_only=True)
class PlateStyle:
    """The look of one plate; lengths are in heights of the plate."""

    font: Font
    aspect: float  # width of the plate
    ground: Colour
    ink: Colour
    rim: Colour  # of the border
    border: float  # width; 0: none
    inset: float  # from the plate's edge to the border
    radius: float  # of the corners
    margin: float  # from the border to the characters
    strip: Strip | None
    main_height: float  # of a zero, before it is made to fit
    small_height: float
    stretch: float  # of characters, sideways
    spacing: float  # between characters, in heights of a zero
    use_gap: float  # additional gap between a digit and a letter behind it
    group_gap: float  # additional gap between the groups of a plate with one row
    fixed_pitch: bool
    align: Align  # of the upper row of a plate with two rows
    level: Level  # vertical position of smaller characters in the row of a plate with one row
    separator: Literal["", "dot", "bar", "ring"]  # between the groups of a plate with one row
    emboss: float  # 0 flat to 1
    bolts: int  # 0, 2 or 4
    holder: float  # width of a dark frame around the plate, which is not part of it; 0: none


def random_style(
    random: np.random.Generator, grammar: PlateGrammar, plate_type: PlateType, names: tuple[str, ...]
) -> PlateStyle:
    """Draw a style at random, in one of the font families `names`, or in those of the grammar among them.

    Raises:
        UsageError: the grammar has fonts, and none of them is among `names`.
        MissingPackageError: a font's package is not installed.
    """
    ground, ink = _colours(random, grammar.colours)
    long = len(plate_type.rows) == 1
    main = random.uniform(0.54, 0.8) if long else random.uniform(0.36, 0.54)
    small = main * (random.uniform(0.65, 1.0) if _chance(random, 0.35) else 1.0) if long else random.uniform(0.2, 0.33)
    has_border = _chance(random, 0.65)
    return PlateStyle(
        font=random_font(random, _families(names, grammar)),
        aspect=random.uniform(*plate_type.drawn_aspect),
        ground=ground,
        ink=ink,
        rim=ink if _chance(random, 0.8) else _jitter(random, (90, 90, 95), 60),
        border=random.uniform(0.012, 0.05) if has_border else 0.0,
        inset=random.uniform(0.0, 0.05),
        radius=random.uniform(0.0, 0.16),
        margin=random.uniform(0.03, 0.12),
        strip=_strip(random, long),
        main_height=main,
        small_height=small,
        stretch=random.uniform(0.8, 1.3),
        spacing=random.uniform(0.06, 0.22),
        use_gap=random.uniform(0.05, 0.4) if _chance(random, 0.3) else 0.0,
        group_gap=random.uniform(0.2, 0.9),
        fixed_pitch=_chance(random, 0.3),
        align=_one_of(random, ("centre", "centre", "left", "spread")),
        level=_one_of(random, ("bottom", "middle", "top")),
        separator=_one_of(random, ("", "", "", "dot", "bar", "ring")),
        emboss=random.uniform(0.3, 1.0) if _chance(random, 0.4) else 0.0,
        bolts=_one_of(random, (0, 0, 2, 4)),
        holder=random.uniform(0.04, 0.1) if _chance(random, 0.2) else 0.0,
    )


def _families(names: tuple[str, ...], grammar: PlateGrammar) -> tuple[str, ...]:
    if not grammar.fonts:
        return names
    found = tuple(name for name in names if name in grammar.fonts)
    if not found:
        raise UsageError(
            f"none of the fonts of the grammar {grammar.name} ({', '.join(grammar.fonts)}) is among those to draw "
            "with: name others, or --fonts all"
        )
    return found


def _colours(random: np.random.Generator, pairs: tuple[tuple[Colour, Colour], ...]) -> tuple[Colour, Colour]:
    if pairs:
        ground, ink = pairs[random.integers(0, len(pairs))]
        return _jitter(random, ground, 12), _jitter(random, ink, 12)
    if _chance(random, _ANY_PAIR):
        while True:
            ground, ink = _any_colour(random), _any_colour(random)
            if abs(luma(ground) - luma(ink)) >= _LEAST_CONTRAST:
                return ground, ink
    ground, ink = _PAIRS[_PAIR_INDEXES[random.integers(0, len(_PAIR_INDEXES))]][:2]
    return _jitter(random, ground, 22), _jitter(random, ink, 22)


def luma(colour: Colour) -> float:
    """Luma, 0 (black) to 255 (white), by the weights of ITU-R BT.601."""
    red, green, blue = colour
    return 0.299 * red + 0.587 * green + 0.114 * blue


def _any_colour(random: np.random.Generator) -> Colour:
    red, green, blue = (int(value) for value in random.integers(10, 246, 3))
    return red, green, blue


def _jitter(random: np.random.Generator, colour: Colour, most: int) -> Colour:
    red, green, blue = (
        min(max(value + int(by), 0), 255) for value, by in zip(colour, random.integers(-most, most + 1, 3), strict=True)
    )
    return red, green, blue


def _strip(random: np.random.Generator, long: bool) -> Strip | None:
    if not _chance(random, 0.25):
        return None
    width = random.uniform(0.3, 0.5) if long else random.uniform(0.12, 0.2)
    return Strip(at_left=_chance(random, 0.75), width=width, colour=_jitter(random, _one_of(random, _STRIPS), 20))


def _chance(random: np.random.Generator, share: float) -> bool:
    return bool(random.random() < share)


def _one_of(random: np.random.Generator, options: tuple[_T, ...]) -> _T:
    return options[random.integers(0, len(options))]


@dataclass(frozen=True, slots=True, kw_only=True)
class Area:
    """An upright rectangle on a face, in pixels."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def width(self) -> float:
        return self.right - self.left

    @property
    def height(self) -> float:
        return self.bottom - self.top


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedGlyph:
    """A character and the rectangle that its ink fills, in whole pixels of the face."""

    char: str
    group: int
    glyph: Glyph
    left: int
    top: int
    width: int
    height: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cell:
    """A character in a row."""

    char: str
    group: int
    glyph: Glyph
    scale: float  # height as a multiple of the row's zero
    width: float  # in heights of the row's zero, before stretching
    gap: float  # before the character, in the same unit


def arrange(
    rows: Sequence[Sequence[tuple[int, str]]], style: PlateStyle, room: Area, unit_px: float
) -> list[PlacedGlyph]:
    """Lay out one or two rows of (group, characters) within `room`; `unit_px` is the height of the plate.

    The last group of a row, and the last row, may be the larger one.
    """
    main_px, small_px = style.main_height * unit_px, style.small_height * unit_px
    if len(rows) == 1:
        main_px, small_px = (min(height, room.height) for height in (main_px, small_px))
        *smaller, (last, characters) = rows[0]
        groups = [*((group, text, small_px / main_px) for group, text in smaller), (last, characters, 1.0)]
        return place_row(groups, style, room, main_px, "centre")
    shrink = min(1.0, (room.height - _LINE_GAP * unit_px) / (main_px + small_px))
    main_px, small_px = main_px * shrink, small_px * shrink
    slack = room.height - main_px - small_px
    gap = max(_LINE_GAP * unit_px, slack / 3)
    top, bottom = room.top + (slack - gap) / 2, room.bottom - (slack - gap) / 2
    upper = Area(left=room.left, top=top, right=room.right, bottom=top + small_px)
    lower = Area(left=room.left, top=bottom - main_px, right=room.right, bottom=bottom)
    return [
        *place_row([(group, text, 1.0) for group, text in rows[0]], style, upper, small_px, style.align),
        *place_row([(group, text, 1.0) for group, text in rows[1]], style, lower, main_px, "centre"),
    ]


def rows_of(text: PlateText, plate_type: PlateType) -> list[list[tuple[int, str]]]:
    """The groups of each row of a plate, and their characters."""
    return [[(group, text.groups[group]) for group in row] for row in plate_type.rows]


def place_row(
    groups: Sequence[tuple[int, str, float]], style: PlateStyle, room: Area, zero_px: float, align: Align
) -> list[PlacedGlyph]:
    """Lay out one row of (group, characters, scale) within `room`, where a zero is at most `zero_px` high."""
    cells = _cells(groups, style, zero_px)
    zero = cells[0].glyph if cells[0].char == "0" else glyph(style.font, "0", zero_px)
    stretch = min(max(style.stretch, _LEAST_ASPECT / zero.width), max(1.0, _MOST_ASPECT / zero.width))
    natural = sum(cell.width + cell.gap for cell in cells)
    squeeze = min(1.0, room.width / (natural * stretch * zero_px))
    allowed = max(squeeze, _LEAST_STRETCH)
    zero_px *= squeeze / allowed
    across = stretch * allowed * zero_px  # horizontal pixels for one height of a zero
    slack = max(0.0, room.width - natural * across)
    spread = min(slack / len(cells), _WIDEST_SPREAD * zero_px) if align == "spread" else 0.0
    at = room.left + {"left": 0.0, "centre": slack / 2, "spread": (slack - spread * (len(cells) - 1)) / 2}[align]
    top = (room.top + room.bottom - zero_px) / 2
    placed = []
    for cell in cells:
        at += cell.gap * across
        placed.append(_place(cell, style, at, top, zero_px, across))
        at += cell.width * across + spread
    return placed


def _cells(groups: Sequence[tuple[int, str, float]], style: PlateStyle, zero_px: float) -> list[_Cell]:
    listed = [(char, group, scale) for group, chars, scale in groups for char in chars]
    glyphs = [glyph(style.font, char, zero_px) for char, *_ in listed]
    pitch = max(drawn.width for drawn in glyphs) if style.fixed_pitch else 0.0
    gaps = [0.0]
    for (char, group, scale), (after, other, _) in pairwise(listed):
        use = style.use_gap if char.isdigit() and not after.isdigit() else 0.0
        gaps.append(style.spacing * scale + use * scale + (style.group_gap if group != other else 0.0))
    return [
        _Cell(char=char, group=group, glyph=drawn, scale=scale, width=max(drawn.width, pitch) * scale, gap=gap)
        for (char, group, scale), drawn, gap in zip(listed, glyphs, gaps, strict=True)
    ]


def _place(cell: _Cell, style: PlateStyle, left: float, top: float, zero_px: float, across: float) -> PlacedGlyph:
    """Place the glyph in the middle of its cell, a smaller one at the style's level."""
    height_px = zero_px * cell.scale
    lower = {"top": 0.0, "middle": 0.5, "bottom": 1.0}[style.level] * (zero_px - height_px)
    width = cell.glyph.width * cell.scale * across
    return PlacedGlyph(
        char=cell.char,
        group=cell.group,
        glyph=cell.glyph,
        left=round(left + (cell.width * across - width) / 2),
        top=round(top + lower + cell.glyph.top * height_px),
        width=max(1, round(width)),
        height=max(1, round(cell.glyph.height * height_px)),
    )
