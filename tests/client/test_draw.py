"""Replies as text, character by character."""

import io
import json
from typing import Any

import pytest

from shardline.client.draw import draw_reply, json_line
from shardline.client.plate_output import plates_summary
from shardline.client.plates import read_plates
from shardline.client.target import Reply
from shardline.client.terminal import TerminalStyle
from shardline.wire.text import printable


def draw(*predictions: Any, style: TerminalStyle | None = None, **options: Any) -> str:
    return draw_reply(
        "x.jpg", Reply(predictions=predictions, timings=None, seconds=0.05), style or TerminalStyle(), **options
    )


def top(*rows: tuple[str, float | None]) -> dict[str, object]:
    return {"top": [{"label": label, "index": 0, "score": score} for label, score in rows]}


def test_columns_are_aligned() -> None:
    drawn = draw(top(("a", 1.0), ("a longer one", 0.0625), ("x" * 60, 1e-9)))

    assert drawn.splitlines() == [
        "x.jpg",
        f"  1  a{' ' * 39}  100.00%  {'█' * 24}",
        f"  2  a longer one{' ' * 28}    6.25%  █▌",
        f"  3  {'x' * 39}…    0.00%",
    ]


def test_a_prediction_without_top_is_one_row() -> None:
    assert draw({"label": "cat", "index": 3, "score": 0.5}).splitlines()[1] == f"  1  cat   50.00%  {'█' * 12}"


@pytest.mark.parametrize("score", [None, "high", True])
def test_a_score_that_is_not_a_number(score: Any) -> None:
    assert draw(top(("cat", score))).splitlines()[1] == "  1  cat        -"


def test_neighbours_are_shown_with_their_vote() -> None:
    prediction = {"pred": "7", "dist": [0.0, 0.12345, 1], "ids": ["a/1.png", "b\x1b", "c"], "labels": ["7", "7", None]}

    assert draw(prediction).splitlines()[1:] == [
        "  7  2 of 3",
        "     label  picture  distance",
        "  1  7      a/1.png    0.0000",
        "  2  7      b�         0.1235",
        "  3  -      c          1.0000",
    ]
    assert draw({"pred": None, "dist": [0.5], "ids": ["a"], "labels": [None]}).splitlines()[1] == "  no label near"
    assert draw({"pred": None, "dist": [], "ids": [], "labels": []}).splitlines()[1:] == ["  nothing near"]


def test_other_tasks_are_shown_as_json() -> None:
    assert draw({"pred": "7", "dist": [0.5], "ids": ["a"]}).splitlines()[1] == "  {"
    assert draw({"boxes": [1]}).splitlines()[1:] == ["  {", '    "boxes": [', "      1", "    ]", "  }"]
    assert draw({"top": [{"label": "x"}]}).splitlines()[1] == "  {"
    assert draw({"top": 3}, 7, None).splitlines()[-2:] == ["  7", "  null"]


LONG = {
    "type": "long", "score": 0.9812, "sub_text": "12A", "main_text": "3456",
    "board_center_p": [412.4, 233.0], "width": 163.2, "height": 38.0, "angle": -3.14, "box": [330, 210, 490, 260],
}  # fmt: skip
REGULAR = LONG | {"type": "regular", "angle": 0.01}


def test_a_long_plate_is_one_row_in_a_box() -> None:
    assert draw([LONG]).splitlines()[1:] == [
        "  ┌───────────────────┐",
        "  │  1 2 A   3 4 5 6  │  long  98.12%",
        "  └───────────────────┘  at 412, 233  163 × 38 pixels  -3.1°",
    ]


def test_a_regular_plate_is_two_rows_in_a_box() -> None:
    assert draw([REGULAR]).splitlines()[1:] == [
        "  ┌──────────────┐",
        "  │     12A      │  regular  98.12%",
        "  │  3  4  5  6  │  at 412, 233  163 × 38 pixels  0.0°",
        "  └──────────────┘",
    ]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"main_text": None, "missing": ["main_text"]}, "main group"),
        ({"sub_text": None, "main_text": None}, "small group, main group"),
        ({"main_text": None, "missing": ["third_digit\x1b"]}, "third digit\N{REPLACEMENT CHARACTER}"),
    ],
)
def test_unread_groups_are_named(changes: dict[str, Any], said: str) -> None:
    lines = draw([REGULAR | changes]).splitlines()

    assert lines[3].startswith("  │  ?  ?  ?  ?  │")
    assert lines[4] == f"  └──────────────┘  not read: {said}"


def test_no_plate_is_one_plain_line() -> None:
    assert draw([]) == "x.jpg\n  no plate"


def test_each_plate_has_its_box_in_ascii_too() -> None:
    drawn = draw([LONG, REGULAR], style=TerminalStyle(blocks=False))

    assert drawn.isascii()
    assert drawn.count("+-------------------+\n") == 1
    assert "|  1 2 A   3 4 5 6  |  long  98.12%\n" in drawn
    assert "+  at 412, 233  163 x 38 pixels  -3.1 degrees\n" in drawn


def test_plates_are_coloured_in_a_terminal_only() -> None:
    style = TerminalStyle(colour=True)

    assert "│  \x1b[1m1 2 A   3 4 5 6\x1b[0m  │" in draw([LONG], style=style)
    assert "\x1b[33mnot read: small group\x1b[0m" in draw([LONG | {"sub_text": None}], style=style)
    assert "\x1b" not in draw([LONG | {"sub_text": None}])


def test_a_plates_text_cannot_control_the_terminal() -> None:
    drawn = draw([LONG | {"main_text": "\x1b[2J" + "9" * 100}])

    assert "\x1b" not in drawn
    assert max(map(len, drawn.splitlines())) < 100


def test_many_pictures_end_with_a_summary() -> None:
    plates = read_plates([LONG, REGULAR, LONG | {"sub_text": None}])
    assert plates is not None

    assert plates_summary(12, plates) == "12 pictures, 3 plates, 1 unread"
    assert plates_summary(1, plates[:1]) == "1 picture, 1 plate, 0 unread"


def test_plates_in_json_are_a_list_of_objects() -> None:
    reply = Reply(predictions=([LONG, REGULAR],), timings=None, seconds=0.0)

    assert json.loads(json_line("x.jpg", reply)) == {"image": "x.jpg", "predictions": [LONG, REGULAR]}


def test_several_requests_are_counted() -> None:
    reply = Reply(predictions=([],), timings={"0": 3.0}, seconds=0.05, requests=4)

    assert draw_reply("x", reply, TerminalStyle(), timings=True).splitlines()[2:] == [
        "  sums of 4 requests; the round trip is the time of them all:",
        "  stage 0          3.0 ms",
        "  round trip      50.0 ms",
    ]


def test_missing_timings_are_reported() -> None:
    assert draw(timings=True).splitlines() == ["x.jpg", "  the server reports no timings", "  round trip      50.0 ms"]


def test_names_and_labels_cannot_control_the_terminal() -> None:
    assert "\x1b" not in draw(top(("\x1b[2Jcat\n", 0.5)))
    assert printable(
        "a\x1b[31m\r\u202eb\ud800"
    ) == "a\N{REPLACEMENT CHARACTER}[31m" + "\N{REPLACEMENT CHARACTER}" * 2 + ("b\N{REPLACEMENT CHARACTER}")


def test_a_plain_stream_gets_no_colour_and_ascii_no_blocks() -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")

    assert TerminalStyle.of(stream) == TerminalStyle(colour=False, blocks=False)
    assert draw(top(("cat", 0.5)), style=TerminalStyle.of(stream)).isascii()


def test_json_is_one_line_of_ascii() -> None:
    line = json_line("ü\udcff\n.jpg", Reply(predictions=({"label": "ü"},), timings=None, seconds=0.0), timings=True)

    assert line.isascii()
    assert "\n" not in line
    assert line.endswith('"timings": {}, "requests": 1}')


def test_plates_of_another_grammar_are_drawn_and_read_in_its_order() -> None:
    plate: dict[str, Any] = {
        "type": "car",
        "area": "KX",
        "year": "42",
        "series": None,
        "score": 0.9,
        "box": [0, 0, 200, 40],
    }
    plate |= {"missing": ["series"], "candidates": [{"area": "KX", "year": "42", "series": "WJZ", "probability": 0.5}]}
    (read,) = read_plates([plate]) or []

    assert (read.text, read.whole) == ("KX 42 ???", False)
    assert "│  K X   4 2   ? ? ?  │  car  90.00%" in draw([plate])
    assert "not read: series" in draw([plate])
    assert "│   KX  42  │  car  90.00%\n  │  ?  ?  ?  │" in draw([plate | {"box": [0, 0, 60, 40]}])
