"""Boxes are exact: what is drawn lies in its box, and touches all four of its sides."""

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageChops

from shardline.tasks.plates.grammar import built_in
from shardline.tasks.plates.text import parse_text, random_text
from shardline.training.plates.annotations import Annotation, annotate
from shardline.training.plates.face import PlateFace, draw_face
from shardline.training.plates.fonts import families
from shardline.training.plates.geometry import (
    Box,
    Matrix,
    Outline,
    Pose,
    move,
    oversampling,
    project,
    rectangle,
    scale,
    stand,
    warp,
)
from shardline.training.plates.picture import draw_onto
from shardline.training.plates.scene import Scene
from shardline.training.plates.style import random_style
from shardline.wire.errors import UsageError

KINDS = [plate_type.name for plate_type in built_in().types]

SIZE = 640
FINE = 4  # of the pixels in which edges are looked for, to one of the picture
Edges = NDArray[np.float64]  # left, top, right, bottom


@dataclass(frozen=True, slots=True, kw_only=True)
class Hung:
    """A plate before the camera, in a picture of SIZE × SIZE pixels, in whose middle it hangs."""

    face: PlateFace
    matrix: Matrix
    kind: str
    marks: tuple[Annotation, ...]
    width_px: float

    def seen(self, mask: Image.Image, box: Box) -> Edges:
        """The edges, near a box, of what the picture shows of a mask on the face; finely, for the thinnest tips."""
        left, top, right, bottom = (int(edge) for edge in box)
        region = (FINE * (left - 8), FINE * (top - 8), FINE * (right + 8), FINE * (bottom + 8))
        drawn = warp(mask, scale(FINE) @ self.matrix, region, 1)
        rows, columns = np.nonzero(np.asarray(drawn) >= 100)
        edges: Edges = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
        found: Edges = edges / FINE + np.array([left - 8, top - 8, left - 8, top - 8])
        return found


def hang(seed: int, width_px: float, *, most_deg: float = 45) -> Hung:
    random = np.random.default_rng(seed)
    plate_type = built_in().types[seed % 2]
    style = replace(random_style(random, built_in(), plate_type, families("all")), holder=0.0)
    angle, yaw, pitch = random.uniform(-most_deg, most_deg, 3)
    pose = Pose(angle_deg=angle, yaw_deg=yaw, pitch_deg=pitch, distance=random.uniform(1.5, 8))
    text = random_text(random)
    height_px = width_px / style.aspect * oversampling(width_px) * 1.5
    face = draw_face(random, text, plate_type, style, height_px, level=1.0)
    board = face.board
    middle = move(-(board.left + board.right) / 2, -(board.top + board.bottom) / 2)
    upright = stand(pose, board.width / board.height, width_px)
    matrix = move(SIZE / 2, SIZE / 2) @ upright @ scale(1 / board.height) @ middle
    marks = annotate(face, matrix, text, built_in(), plate_type)
    return Hung(face=face, matrix=matrix, kind=plate_type.name, marks=marks, width_px=width_px)


seeds = st.integers(0, 2**32)
widths = st.floats(60, 300)


@settings(max_examples=30, deadline=None)
@given(seeds, widths)
def test_a_character_fills_its_box(seed: int, width_px: float) -> None:
    hung = hang(seed, width_px)
    boxes = [mark.box for mark in hung.marks if len(mark.label) == 1]

    assert len(boxes) == len(hung.face.characters) == 7
    for character, box in zip(hung.face.characters, boxes, strict=True):
        placed, mask = character.placed, Image.new("L", hung.face.image.size)
        size = placed.width, placed.height
        mask.paste(placed.glyph.mask.resize(size, Image.Resampling.BILINEAR), (placed.left, placed.top))
        assert np.abs(hung.seen(mask, box) - box).max() <= 1, character.char


@settings(max_examples=20, deadline=None)
@given(seeds, widths)
def test_a_board_fills_its_box(seed: int, width_px: float) -> None:
    hung = hang(seed, width_px)
    box = hung.marks[0].box

    assert np.abs(hung.seen(hung.face.image.getchannel("A"), box) - box).max() <= 1


@settings(max_examples=20, deadline=None)
@given(seeds, widths)
def test_groups_hold_their_characters_and_boards_hold_groups(seed: int, width_px: float) -> None:
    hung = hang(seed, width_px)
    board, small, main, *characters = (np.array(mark.box) for mark in hung.marks)

    assert [mark.label for mark in hung.marks[:3]] == [f"{hung.kind[0]}_{name}" for name in ("board", "s_n", "m_n")]
    for group, members in ((small, characters[:3]), (main, characters[3:])):
        assert np.array_equal(group[:2], np.min(members, axis=0)[:2])
        assert np.array_equal(group[2:], np.max(members, axis=0)[2:])
        assert (group[:2] >= board[:2]).all()
        assert (group[2:] <= board[2:]).all()


@settings(max_examples=30, deadline=None)
@given(seeds)
def test_a_long_plate_has_one_row_and_a_regular_one_two(seed: int) -> None:
    hung = hang(seed, 300)
    placed = [character.placed for character in hung.face.characters]
    small, main = placed[:3], placed[3:]

    for row in (placed,) if hung.kind == "long" else (small, main):
        for left, right in pairwise(row):
            assert left.left + left.width <= right.left, "characters of a row stand beside each other"
    if hung.kind == "long":
        assert max(glyph.top for glyph in placed) < min(glyph.top + glyph.height for glyph in placed)
    else:
        assert max(glyph.top + glyph.height for glyph in small) <= min(glyph.top for glyph in main)
        assert max(glyph.height for glyph in small) < min(glyph.height for glyph in main)


@settings(max_examples=30, deadline=None)
@given(seeds, st.floats(-180, 180), st.floats(20, 2000))
def test_a_plate_stands_as_it_was_asked_to(seed: int, angle_deg: float, width_px: float) -> None:
    random = np.random.default_rng(seed)
    yaw, pitch = random.uniform(-60, 60, 2)
    aspect, distance = random.uniform(1, 6), random.uniform(1.5, 8)
    matrix = stand(Pose(angle_deg=angle_deg, yaw_deg=yaw, pitch_deg=pitch, distance=distance), aspect, width_px)
    outline = Outline(corners=project(matrix, rectangle(-aspect / 2, -0.5, aspect / 2, 0.5)))

    assert outline.width_px == pytest.approx(width_px)
    assert (outline.angle_deg - angle_deg + 180) % 360 == pytest.approx(180)


@pytest.mark.parametrize("seed", range(12))
def test_only_the_box_of_a_plate_changes_a_photograph(seed: int) -> None:
    """Through the public door: the plate is where it is said to be, with its own text, and nowhere else."""
    photo = Image.new("RGB", (800, 600), (90, 120, 150))
    before, text = photo.copy(), parse_text("12A 3456")
    plate = draw_onto(np.random.default_rng(seed), photo, text, Scene(wear=0), families("train"), 240)
    changed = ImageChops.difference(photo, before).getbbox()
    holder_px = 0.15 * plate.outline.height_px + 2
    box = np.array(plate.annotations[0].box)

    assert plate.text == text
    assert plate.readable
    assert changed is not None
    assert (np.array(changed) - box)[:2].max() <= 1
    assert (np.array(changed) - box)[2:].min() >= -1
    assert np.abs(np.array(changed) - box).max() <= holder_px
    assert "".join(mark.text for mark in plate.annotations[3:]) == "12A3456"


def test_a_plate_without_room_is_refused() -> None:
    photo, text = Image.new("RGB", (200, 100)), parse_text("12A 3456")
    with pytest.raises(UsageError, match="a plate of 300 pixels has no room in 200 x 100: make it smaller"):
        draw_onto(np.random.default_rng(0), photo, text, Scene(), families("train"), 300)
