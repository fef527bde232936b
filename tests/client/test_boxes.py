"""Detected objects: read, moved to other pixels, merged, printed and drawn."""

from typing import Any

import pytest
from PIL import Image

from shardline.client.boxes import box_lines, mark_boxes, merge_boxes, move_boxes, read_boxes
from shardline.client.canvas import PALETTE, Canvas
from shardline.client.terminal import TerminalStyle
from shardline.wire.view import View


def reported(label: str = "cat", index: int = 1, score: float = 0.9, box: Any = (10, 20, 110, 220)) -> dict[str, Any]:
    return {"label": label, "index": index, "score": score, "box": list(box)}


def read(*rows: dict[str, Any]) -> Any:
    found = read_boxes({"boxes": list(rows)})
    assert found is not None
    return found


def test_boxes_are_read() -> None:
    (found,) = read(reported())

    assert (found.label, found.index, found.score, found.box) == ("cat", 1, 0.9, (10, 20, 110, 220))
    assert read_boxes({"boxes": []}) == ()


@pytest.mark.parametrize(
    "prediction",
    [
        None,
        [],
        {"label": "cat", "score": 0.5},
        {"boxes": [1]},
        {"boxes": [reported(box=(1, 2, 3))]},
        {"boxes": [reported(box=(1, 2, 3, float("nan")))]},
        {"boxes": [reported(score=None)]},  # type: ignore[arg-type]
        {"boxes": [{**reported(), "index": True}]},
        {"boxes": [{**reported(), "label": 7}]},
    ],
)
def test_other_replies_are_not_boxes(prediction: object) -> None:
    assert read_boxes(prediction) is None


def test_boxes_move_with_the_picture_and_keep_other_keys() -> None:
    view = View(width=1000, height=900, left=100, top=10, across=2, down=3)

    assert move_boxes(read({**reported(), "more": 1}), view) == {
        "boxes": [{**reported(box=[120.0, 70.0, 320.0, 670.0]), "more": 1}]
    }


def test_overlapping_boxes_of_one_class_are_one_object() -> None:
    found = read(
        reported(score=0.6), reported(score=0.8, box=(12, 20, 112, 220)), reported(index=2, score=0.5),
        reported(score=0.4, box=(300, 20, 400, 220)),
    )  # fmt: skip

    assert [(item.index, item.score) for item in merge_boxes(found)] == [(1, 0.8), (2, 0.5), (1, 0.4)]


def test_objects_are_a_table() -> None:
    found = read(reported(score=0.5), reported("a dog", 2, 0.25, (0, 1.6, 1024, 3)))

    assert box_lines(found, TerminalStyle()) == [
        "     label    score  left  top  right  bottom",
        f"  1  cat     50.00%    10   20    110     220  {'█' * 12}",
        f"  2  a dog   25.00%     0    2   1024       3  {'█' * 6}",
    ]
    assert box_lines((), TerminalStyle()) == ["  no object"]
    assert "\x1b" not in "".join(box_lines(read(reported("\x1b[2J")), TerminalStyle(blocks=False)))


def test_colours_of_the_table_are_those_of_the_picture() -> None:
    red, green, blue = PALETTE[1]
    lines = box_lines(read(reported()), TerminalStyle(colour=True))
    canvas = Canvas(Image.new("RGB", (300, 300)))
    mark_boxes(canvas, read(reported()))

    assert f"\x1b[38;2;{red};{green};{blue}m■\x1b[0m cat" in lines[1]
    assert canvas.image.getpixel((10, 100)) == PALETTE[1]
