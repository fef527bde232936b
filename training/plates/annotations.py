"""Annotations of a drawn picture: every plate, group and character, its exact box, and how much of it is visible."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from shardline.tasks.plates.grammar import PlateGrammar, PlateType, board_class, group_class
from shardline.tasks.plates.text import PlateText
from shardline.training.plates.degradation import CameraEffects
from shardline.training.plates.geometry import (
    Box,
    Matrix,
    Outline,
    Points,
    area,
    bounds,
    clip,
    project,
    rectangle,
)

if TYPE_CHECKING:
    from shardline.training.plates.face import PlateFace

ANNOTATIONS = "annotations.json"  # file of a data set, in COCO's format

# share of a box that must be visible for the object to be recognisable
_VISIBLE = {"board": 0.25, "group": 0.4, "character": 0.8}


@dataclass(frozen=True, slots=True, kw_only=True)
class Annotation:
    """One object in a picture. `box` and `quad` are whole, also where the object is cut off or covered."""

    label: str  # one of the grammar's classes
    text: str
    box: Box  # in pixels
    quad: Points  # [4, 2], corners in pixels, clockwise from the text's top left
    visible: float  # share of the box that is in the picture and not covered
    recognisable: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnPlate:
    """One plate in a picture."""

    kind: str  # name of its type
    text: PlateText
    font: str  # name of the family
    outline: Outline
    level: float  # of wear, 0 to 1
    contrast: float  # of the faintest character, 0 to 255 in luma, before the camera
    annotations: tuple[Annotation, ...]  # of the board, its groups, its characters

    @property
    def readable(self) -> bool:
        """True where everything on the plate is recognisable."""
        return all(annotation.recognisable for annotation in self.annotations)

    @property
    def readable_groups(self) -> tuple[bool, ...]:
        """For each group: True where all its characters are recognisable."""
        characters = [annotation for annotation in self.annotations if len(annotation.label) == 1]
        recognisable = iter(character.recognisable for character in characters)
        return tuple(all(list(islice(recognisable, len(group)))) for group in self.text.groups)


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnPicture:
    """A picture, and everything that was drawn into it."""

    pixels: NDArray[np.uint8]  # [height, width, 3], RGB
    plates: tuple[DrawnPlate, ...]
    signs: tuple[Outline, ...]  # boards that are no plates
    background: str  # name of the photograph's file
    exposure: CameraEffects


def annotate(
    face: "PlateFace", matrix: Matrix, text: PlateText, grammar: PlateGrammar, plate_type: PlateType
) -> tuple[Annotation, ...]:
    """The annotations of a plate's board, groups and characters, all of them visible.

    Args:
        matrix: the homography from the face to the picture, float64 [3, 3].
    """
    objects = list(_objects(face, text, grammar, plate_type))
    outlines = [thing.outline for thing in objects]
    # all outlines, then four corners for each object, in one projection: [n, 2]
    seen = project(matrix, np.concatenate((*outlines, *(rectangle(*thing.flat) for thing in objects))))
    ends = np.cumsum([len(outline) for outline in outlines])
    starts = np.concatenate(((0,), ends[:-1]))
    boxes = np.hstack((np.minimum.reduceat(seen[: ends[-1]], starts), np.maximum.reduceat(seen[: ends[-1]], starts)))
    quads = seen[ends[-1] :].reshape(-1, 4, 2)
    return tuple(
        Annotation(label=thing.label, text=thing.text, box=tuple(box), quad=quad, visible=1.0, recognisable=True)
        for thing, box, quad in zip(objects, boxes.tolist(), quads, strict=True)
    )


def with_visibility(plate: DrawnPlate, size: tuple[int, int], hidden: NDArray[np.uint8] | None) -> DrawnPlate:
    """The plate with the visibility of its objects in a picture of this size (width, height).

    Args:
        hidden: uint8 [height, width], 255 where something covers the picture.
    """
    annotations = []
    for annotation in plate.annotations:
        visible = _visible_share(annotation.box, size, hidden)
        recognisable = visible >= _VISIBLE[_object_kind(annotation.label)]
        annotations.append(replace(annotation, visible=visible, recognisable=recognisable))
    return replace(plate, annotations=tuple(annotations))


@dataclass(frozen=True, slots=True, kw_only=True)
class _FaceObject:
    """An object on the face of a plate."""

    label: str
    text: str
    outline: Points  # [n, 2]
    flat: Box  # upright on the face


def _objects(face: "PlateFace", text: PlateText, grammar: PlateGrammar, plate_type: PlateType) -> Iterator[_FaceObject]:
    board = face.board
    flat = board.left, board.top, board.right, board.bottom
    yield _FaceObject(label=board_class(plate_type), text=str(text), outline=face.outline, flat=flat)
    for index, (group, characters) in enumerate(zip(grammar.groups, text.groups, strict=True)):
        outline = np.concatenate([character.outline for character in face.characters if character.group == index])
        label = group_class(plate_type, group)
        yield _FaceObject(label=label, text=characters, outline=outline, flat=bounds(outline))
    for character in face.characters:
        left, top = character.placed.left, character.placed.top
        flat = left, top, left + character.placed.width, top + character.placed.height
        yield _FaceObject(label=character.char.lower(), text=character.char, outline=character.outline, flat=flat)


def _visible_share(box: Box, size: tuple[int, int], hidden: NDArray[np.uint8] | None) -> float:
    whole, inside = area(box), clip(box, size)
    if not whole or not area(inside):
        return 0.0
    share = area(inside) / whole
    if hidden is None:
        return share
    left, top = int(inside[0]), int(inside[1])
    right, bottom = (max(int(np.ceil(end)), low + 1) for end, low in zip(inside[2:], (left, top), strict=True))
    return share * (1 - float(hidden[top:bottom, left:right].mean()) / 255)


def _object_kind(label: str) -> str:
    return "character" if len(label) == 1 else "board" if label.endswith("board") else "group"
