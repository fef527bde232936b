"""The table of replies: each prediction is of one kind, and positions move."""

from typing import Any

import pytest
from PIL import Image

from shardline.client.canvas import Canvas
from shardline.client.replies import moved, read_prediction
from shardline.client.terminal import TerminalStyle
from shardline.wire.errors import UsageError
from shardline.wire.view import View

PLATE = {"type": "long", "score": 0.9, "box": [0, 10, 100, 30], "sub_text": "12A", "main_text": "3456"}
BOXES = {"boxes": [{"label": "cat", "index": 1, "score": 0.9, "box": [0, 10, 100, 30]}]}
TENSORS = {"outputs": {"age": {"shape": [1], "dtype": "float32", "data": [31.25]}}}


@pytest.mark.parametrize(
    ("prediction", "name"),
    [
        ([PLATE], "license plates"),
        ([], "license plates"),
        (BOXES, "objects"),
        ({"mask": {}, "size": [1, 1], "classes": []}, "a mask"),
        ({"pred": "7", "dist": [0], "ids": ["a"], "labels": ["7"]}, "neighbours"),
        (TENSORS, "raw tensors"),
        ({"label": "cat", "score": 0.5}, "classes"),
        ({"mine": 1}, "a reply of an unknown task"),
        (None, "a reply of an unknown task"),
    ],
)
def test_each_prediction_is_of_one_kind(prediction: Any, name: str) -> None:
    read = read_prediction(prediction)

    assert read.kind.name == name
    assert read.lines(TerminalStyle())


def test_positions_move_and_all_else_stays() -> None:
    view = View(width=200, height=200, across=2, down=2)

    assert moved([PLATE], view)[0]["box"] == [0, 20, 200, 60]
    assert moved(BOXES, view)["boxes"][0]["box"] == [0, 20, 200, 60]
    assert moved(TENSORS, view) is TENSORS


@pytest.mark.parametrize("prediction", [TENSORS, {"mine": 1}])
def test_what_cannot_be_drawn_is_refused(prediction: Any) -> None:
    with pytest.raises(UsageError, match="cannot be drawn on a picture: use --json"):
        read_prediction(prediction).mark(Canvas(Image.new("RGB", (300, 300))))
