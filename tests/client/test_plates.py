"""A plate of a reply is understood, and is the same plate in another picture's pixels."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardline.client.plates import Plate, move, read_plates
from shardline.wire.view import View

SAID = {
    "type": "regular",
    "board_center_p": [50.0, 30.0],
    "width": 40.0,
    "height": 20.0,
    "angle": 0.0,
    "sub_text": "12A",
    "main_text": "3456",
    "score": 0.9,
    "box": [30.0, 20.0, 70.0, 40.0],
    "quad": [[30.0, 20.0], [70.0, 20.0], [70.0, 40.0], [30.0, 40.0]],
}


def plate(**changes: Any) -> Plate:
    (read,) = read_plates([{**SAID, **changes}]) or []
    return read


def test_a_reported_plate_is_read() -> None:
    read = plate()

    assert (read.kind, read.text, read.score, read.whole) == ("regular", "12A 3456", 0.9, True)
    assert (read.box, read.center, read.width) == ((30, 20, 70, 40), (50, 30), 40)
    assert read.quad == ((30, 20), (70, 20), (70, 40), (30, 40))


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"sub_text": None, "missing": ["sub_text"]}, "??? 3456"),
        ({"main_text": None}, "12A ????"),
        ({"missing": ["main_text"]}, "12A 3456"),
    ],
)
def test_a_plate_with_an_unread_group_is_not_whole(changes: dict[str, Any], text: str) -> None:
    assert not plate(**changes).whole
    assert plate(**changes).text == text


def test_the_box_alone_is_enough() -> None:
    (read,) = read_plates([{"type": "long", "score": 1, "box": [0, 10, 100, 30]}]) or []

    assert (read.center, read.width, read.height, read.angle) == ((50, 20), 100, 20, 0)
    assert read.quad == ((0, 10), (100, 10), (100, 30), (0, 30))


@pytest.mark.parametrize(
    "prediction",
    [
        {"label": "cat"},
        [{"label": "cat", "score": 0.5}],
        [{**SAID, "type": 7}],
        [{**SAID, "box": [1, 2, 3]}],
        [{**SAID, "box": [1, 2, 3, float("nan")]}],
        [{**SAID, "score": None}],
        [SAID, 7],
        None,
    ],
)
def test_other_replies_are_not_plates(prediction: object) -> None:
    assert read_plates(prediction) is None


def test_no_plate_is_a_reply_of_plates() -> None:
    assert read_plates([]) == []


@pytest.mark.parametrize("odd", [None, "x", [1], [[1, 2]] * 3, [[1, "y"]] * 4, {}, True])
def test_odd_values_of_other_keys_do_no_harm(odd: object) -> None:
    names = ("quad", "board_center_p", "width", "height", "angle", "sub_text", "missing")

    assert plate(**dict.fromkeys(names, odd)).box == (30, 20, 70, 40)


def test_a_plate_that_need_not_move_stays_unchanged() -> None:
    assert move(plate(), View(width=100, height=100)) == plate()


def test_all_positions_move_together() -> None:
    moved = move(plate(more="kept"), View(width=1000, height=900, left=100, top=10, across=2, down=2))

    assert dict(moved.reported) == {
        **SAID,
        "board_center_p": [200, 70],
        "width": 80,
        "height": 40,
        "box": [160, 50, 240, 90],
        "quad": [[160, 50], [240, 50], [240, 90], [160, 90]],
        "more": "kept",
    }
    assert read_plates([json.loads(json.dumps(moved.reported))]) == [moved]


def test_positions_that_were_not_reported_are_not_added() -> None:
    (read,) = read_plates([{"type": "long", "score": 1, "box": [0, 10, 100, 30], "quad": None}]) or []

    assert dict(move(read, View(width=1000, height=900, left=1)).reported) == {
        **{"type": "long", "score": 1, "box": [1, 10, 101, 30], "quad": None}
    }


SCALES = st.floats(0.05, 20)
OFFSETS = st.floats(-5000, 5000)


@given(across=SCALES, left=OFFSETS, top=OFFSETS, angle=st.floats(-180, 180))
def test_moving_keeps_shape_and_angle(across: float, left: float, top: float, angle: float) -> None:
    """As long as both directions are scaled alike."""
    moved = move(plate(angle=angle), View(width=9, height=9, left=left, top=top, across=across, down=across))

    assert moved.width == pytest.approx(40 * across, abs=0.01)
    assert moved.height == pytest.approx(20 * across, abs=0.01)
    turned = (moved.angle - angle + 180) % 360 - 180
    assert turned == pytest.approx(0, abs=0.01)
    assert moved.center[0] == pytest.approx((moved.box[0] + moved.box[2]) / 2, abs=0.01)


@given(view=st.builds(View, width=st.just(9), height=st.just(9), left=OFFSETS, top=OFFSETS, across=SCALES, down=SCALES))
def test_the_way_there_and_back(view: View) -> None:
    back = View(
        width=9, height=9, across=1 / view.across, down=1 / view.down,
        left=-view.left / view.across, top=-view.top / view.down,
    )  # fmt: skip
    there = move(plate(), view)

    assert move(there, back).box == pytest.approx(plate().box, abs=0.3)  # of rounding to 0.01, enlarged up to 20 times
