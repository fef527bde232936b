"""Detections from the detector's outputs, without duplicates, and rectangles from upright boxes."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from services.plate_detections import PlanePlate, outputs

from shardline.tasks.plates.detections import (
    Detections,
    OrientedBox,
    detector_arrays,
    oriented_box,
    picture_detections,
    unit_direction,
)
from shardline.tasks.plates.grammar import AspectRatios
from shardline.tasks.plates.text import parse_text
from shardline.wire.errors import BundleError, ShardlineError

PLATE = PlanePlate(kind="long", text=parse_text("12A 3456"))
RATIOS = AspectRatios(least=0.5, usual=4.0, most=8.0)


def upright_box(box: OrientedBox) -> np.ndarray:
    """The upright box around a rectangle."""
    return np.concatenate((box.corners.min(axis=0), box.corners.max(axis=0)))


def test_properties_of_detections() -> None:
    detections = Detections(boxes=np.array(((0.0, 0.0, 4.0, 2.0),)), scores=np.array(((0.2, 0.7),)))

    assert len(detections) == 1
    assert detections.best.tolist() == [0.7]
    assert detections.centres.tolist() == [[2, 1]]
    assert detections.sizes.tolist() == [[4, 2]]


def test_a_plate_s_detections() -> None:
    found = picture_detections(outputs(PLATE.detections()), 0, 0.7)

    assert [len(kind) for kind in (found.boards, found.groups, found.characters)] == [1, 2, 7]
    assert found.directions.shape == (1, 2)
    assert found.texts is None
    assert found.boards.boxes[0].tolist() == pytest.approx(PLATE.detections()[0].box)


def test_duplicates_are_detected_once_with_the_highest_score() -> None:
    twice = [
        *PLATE.detections(),
        *PlanePlate(kind="long", text=PLATE.text, centre=(258.0, 257.0), score=0.8).detections(),
    ]

    found = picture_detections(outputs(twice), 0, 0.7)

    assert [len(kind) for kind in (found.boards, found.groups, found.characters)] == [1, 2, 7]
    assert found.boards.best.tolist() == pytest.approx([0.9])


def test_a_low_threshold_keeps_less_confident_detections() -> None:
    faint = outputs(PlanePlate(kind="long", text=PLATE.text, score=0.05).detections())

    assert len(picture_detections(faint, 0, 0.7).characters) == 0
    assert len(picture_detections(faint, 0, 0.04).characters) == 7


def test_the_instance_is_named_where_the_model_fails() -> None:
    arrays = {name: np.concatenate((array, array)) for name, array in outputs(PLATE.detections()).items()}
    arrays["group_boxes"][1, 0, 0] = np.nan

    assert len(picture_detections(arrays, 0, 0.7).boards) == 1
    with pytest.raises(ShardlineError, match="NaN or infinity for instance 1"):
        picture_detections(arrays, 1, 0.7)


def test_outputs_of_another_model() -> None:
    with pytest.raises(BundleError, match=r"outputs are logits float32\[1, 3\]; plates needs the seven"):
        detector_arrays({"logits": np.zeros((1, 3), np.float32)})


@given(st.floats(20, 300), st.floats(1, 7.5), st.floats(-90, 90).filter(lambda angle: abs(abs(angle) - 45) > 3))
def test_a_rectangle_comes_back_from_its_upright_box(width: float, aspect: float, angle: float) -> None:
    along = np.array((math.cos(math.radians(angle)), math.sin(math.radians(angle))))
    drawn = OrientedBox(centre=np.array((200.0, 100.0)), along=along, width=width, height=width / aspect)

    found = oriented_box(upright_box(drawn), along, AspectRatios(least=0.5, usual=aspect, most=8.0))

    assert (found.width, found.height) == pytest.approx((drawn.width, drawn.height), rel=1e-6)
    assert found.corners == pytest.approx(drawn.corners, abs=1e-3)


def test_at_45_degrees_the_usual_aspect_ratio_decides() -> None:
    along = unit_direction(np.array((1.0, 1.0)))
    square = np.array((0.0, 0.0, 100.0, 100.0))

    found = oriented_box(square, along, RATIOS)

    assert found.width / found.height == pytest.approx(RATIOS.usual)


@pytest.mark.parametrize("box", [(0, 0, 300, 1), (0, 0, 1, 300), (5, 5, 5, 5)])
def test_an_impossible_aspect_ratio_becomes_the_nearest_possible_one(box: tuple[float, ...]) -> None:
    found = oriented_box(np.array(box, np.float64), np.array((1.0, 0.0)), RATIOS)

    assert found.width > 0
    assert found.height > 0
    assert box[0] == box[2] or found.width / found.height in (pytest.approx(RATIOS.least), pytest.approx(RATIOS.most))


def test_no_direction_counts_as_upright() -> None:
    assert unit_direction(np.zeros(2)).tolist() == [1, 0]
    assert unit_direction(np.array((0.0, 3.0))).tolist() == [0, 1]


@given(st.floats(-180, 180), st.floats(-100, 100), st.floats(-100, 100))
def test_local_coordinates_of_the_corners(angle: float, x: float, y: float) -> None:
    along = np.array((math.cos(math.radians(angle)), math.sin(math.radians(angle))))
    box = OrientedBox(centre=np.array((x, y)), along=along, width=40.0, height=10.0)

    assert box.to_local(box.corners) == pytest.approx(np.array(((-20, -5), (20, -5), (20, 5), (-20, 5))), abs=1e-6)
