"""Where each character stands on a plate, in pixels of its face.

A row is as wide as its characters, stretched as the style says, and the gaps between them; where that is more than
there is room for, first the row is made narrower, down to what can still be read, then everything in it smaller.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from shardline.tasks.plates.text import DIGITS, Group, Kind, PlateText
from shardline.training.plates.glyphs import Glyph, glyph
from shardline.training.plates.style import Align, Style

_LEAST_STRETCH = 0.72
_LEAST_ASPECT, _MOST_ASPECT = 0.36, 0.85  # of a zero, width / height
_WIDEST_SPREAD = 0.5  # that "spread" adds to a gap, in heights of a zero
_LINE_GAP = 0.06  # between the rows of a regular plate, at least, in heights of the plate


@dataclass(frozen=True, slots=True, kw_only=True)
class Area:
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
class Placed:
    """A character and the rectangle that its ink fills, whole pixels of the face."""

    char: str
    group: Group
    glyph: Glyph
    left: int
    top: int
    width: int
    height: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cell:
    char: str
    group: Group
    glyph: Glyph
    scale: float  # of its height, to the row's zero
    width: float  # in heights of the row's zero, before stretching
    gap: float  # before it, likewise


def arrange(text: PlateText, kind: Kind, style: Style, room: Area, unit_px: float) -> list[Placed]:
    """The characters of both groups within `room`; `unit_px` is the height of the plate."""
    main_px, small_px = style.main_height * unit_px, style.small_height * unit_px
    if kind == "long":
        main_px, small_px = (min(each, room.height) for each in (main_px, small_px))
        groups: list[tuple[Group, str, float]] = [("s", text.small, small_px / main_px), ("m", text.main, 1.0)]
        return place_row(groups, style, room, main_px, "centre")
    shrink = min(1.0, (room.height - _LINE_GAP * unit_px) / (main_px + small_px))
    main_px, small_px = main_px * shrink, small_px * shrink
    slack = room.height - main_px - small_px
    gap = max(_LINE_GAP * unit_px, slack / 3)
    top, bottom = room.top + (slack - gap) / 2, room.bottom - (slack - gap) / 2
    upper = Area(left=room.left, top=top, right=room.right, bottom=top + small_px)
    lower = Area(left=room.left, top=bottom - main_px, right=room.right, bottom=bottom)
    return [
        *place_row([("s", text.small, 1.0)], style, upper, small_px, style.align),
        *place_row([("m", text.main, 1.0)], style, lower, main_px, "centre"),
    ]


def place_row(
    groups: Sequence[tuple[Group, str, float]], style: Style, room: Area, zero_px: float, align: Align
) -> list[Placed]:
    """One row of (group, characters, scale) within `room`, where a zero is at most `zero_px` high."""
    cells = _cells(groups, style, zero_px)
    zero = cells[0].glyph if cells[0].char == "0" else glyph(style.font, "0", zero_px)
    stretch = min(max(style.stretch, _LEAST_ASPECT / zero.width), max(1.0, _MOST_ASPECT / zero.width))
    natural = sum(cell.width + cell.gap for cell in cells)
    squeeze = min(1.0, room.width / (natural * stretch * zero_px))
    allowed = max(squeeze, _LEAST_STRETCH)
    zero_px *= squeeze / allowed
    across = stretch * allowed * zero_px  # pixels for one height of a zero, sideways
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


def _cells(groups: Sequence[tuple[Group, str, float]], style: Style, zero_px: float) -> list[_Cell]:
    listed = [(char, group, scale) for group, chars, scale in groups for char in chars]
    glyphs = [glyph(style.font, char, zero_px) for char, *_ in listed]
    pitch = max(each.width for each in glyphs) if style.fixed_pitch else 0.0
    gaps = [0.0]
    for (char, group, scale), (after, other, _) in pairwise(listed):
        use = style.use_gap if char in DIGITS and after not in DIGITS else 0.0
        gaps.append(style.spacing * scale + use * scale + (style.group_gap if group != other else 0.0))
    return [
        _Cell(char=char, group=group, glyph=drawn, scale=scale, width=max(drawn.width, pitch) * scale, gap=gap)
        for (char, group, scale), drawn, gap in zip(listed, glyphs, gaps, strict=True)
    ]


def _place(cell: _Cell, style: Style, left: float, top: float, zero_px: float, across: float) -> Placed:
    """The glyph in the middle of its cell, smaller ones at the style's level."""
    height_px = zero_px * cell.scale
    lower = {"top": 0.0, "middle": 0.5, "bottom": 1.0}[style.level] * (zero_px - height_px)
    width = cell.glyph.width * cell.scale * across
    return Placed(
        char=cell.char,
        group=cell.group,
        glyph=cell.glyph,
        left=round(left + (cell.width * across - width) / 2),
        top=round(top + lower + cell.glyph.top * height_px),
        width=max(1, round(width)),
        height=max(1, round(cell.glyph.height * height_px)),
    )
