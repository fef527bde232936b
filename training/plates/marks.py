"""What can be found in a picture: every plate, group and character, its exact box, and how much of it can be seen."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from shardline.tasks.plates.text import Group, Kind, PlateText, board_class, group_class
from shardline.training.plates.face import Face
from shardline.training.plates.warp import Matrix, Outline, Points, bounds, project, rectangle

Box = tuple[float, float, float, float]  # left, top, right, bottom

# of a box that is left open to the eye, so that one can still say what it is
_ENOUGH = {"board": 0.25, "group": 0.4, "character": 0.8}
_GROUPS: tuple[Group, ...] = ("s", "m")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """`box` and `quad` are whole, in pixels, also where the thing reaches out of the picture or is covered."""

    label: str  # one of text.CLASSES
    text: str
    box: Box
    quad: Points  # its corners from the text's top left on, clockwise, [4, 2]
    visible: float  # share of the box that is in the picture and not covered
    recognisable: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Plate:
    """One plate in a picture."""

    kind: Kind
    text: PlateText
    font: str  # its family
    outline: Outline
    level: float  # of wear, 0 to 1
    contrast: float  # of the faintest character, 0 to 255 in luma, before the camera
    marks: tuple[Mark, ...]  # the board, its groups, its characters

    @property
    def readable(self) -> bool:
        """Whether everything on it can be recognised."""
        return all(mark.recognisable for mark in self.marks)


def find(face: Face, matrix: Matrix, text: PlateText, kind: Kind) -> tuple[Mark, ...]:
    """The board, its two groups and seven characters, all of them visible."""
    things = list(_things(face, text, kind))
    flat = [each.flat for each in things]
    outlines = [each.outline for each in things]
    seen = project(matrix, np.concatenate((*outlines, *(rectangle(*box) for box in flat))))
    ends = np.cumsum([len(each) for each in outlines])
    starts = np.concatenate(((0,), ends[:-1]))
    boxes = np.hstack((np.minimum.reduceat(seen[: ends[-1]], starts), np.maximum.reduceat(seen[: ends[-1]], starts)))
    quads = seen[ends[-1] :].reshape(-1, 4, 2)
    return tuple(
        Mark(label=each.label, text=each.text, box=tuple(box), quad=quad, visible=1.0, recognisable=True)
        for each, box, quad in zip(things, boxes.tolist(), quads, strict=True)
    )


def hide(plate: Plate, size: tuple[int, int], hidden: NDArray[np.uint8] | None) -> Plate:
    """The plate in a picture of this size (width, height), where `hidden` [height, width] is 255."""
    marks = []
    for mark in plate.marks:
        visible = _visible(mark.box, size, hidden)
        marks.append(replace(mark, visible=visible, recognisable=visible >= _ENOUGH[_sort(mark.label)]))
    return replace(plate, marks=tuple(marks))


def clip(box: Box, size: tuple[int, int]) -> Box:
    """The part of a box that lies in a picture (width, height); without any, it has no area."""
    left, top, right, bottom = box
    width, height = size
    return min(max(left, 0), width), min(max(top, 0), height), max(min(right, width), 0), max(min(bottom, height), 0)


def area(box: Box) -> float:
    left, top, right, bottom = box
    return max(0.0, right - left) * max(0.0, bottom - top)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Thing:
    """What is to be found, on the face."""

    label: str
    text: str
    outline: Points
    flat: Box  # in the plane of the plate


def _things(face: Face, text: PlateText, kind: Kind) -> Iterator[_Thing]:
    board = face.board
    flat = board.left, board.top, board.right, board.bottom
    yield _Thing(label=board_class(kind), text=str(text), outline=face.outline, flat=flat)
    for group in _GROUPS:
        outline = np.concatenate([each.outline for each in face.characters if each.group == group])
        yield _Thing(label=group_class(kind, group), text=text.group(group), outline=outline, flat=bounds(outline))
    for each in face.characters:
        left, top = each.placed.left, each.placed.top
        flat = left, top, left + each.placed.width, top + each.placed.height
        yield _Thing(label=each.char.lower(), text=each.char, outline=each.outline, flat=flat)


def _visible(box: Box, size: tuple[int, int], hidden: NDArray[np.uint8] | None) -> float:
    whole, inside = area(box), clip(box, size)
    if not whole or not area(inside):
        return 0.0
    share = area(inside) / whole
    if hidden is None:
        return share
    left, top = int(inside[0]), int(inside[1])
    right, bottom = (max(int(np.ceil(each)), low + 1) for each, low in zip(inside[2:], (left, top), strict=True))
    return share * (1 - float(hidden[top:bottom, left:right].mean()) / 255)


def _sort(label: str) -> str:
    return "character" if len(label) == 1 else "board" if label.endswith("board") else "group"
