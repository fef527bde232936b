"""What the terminal shows, to the letter."""

import io
from typing import Any

import pytest

from client.draw import Style, Waiting, draw_reply, json_line, printable
from client.states import ChainState, PartState, StageState
from client.target import Reply


def draw(*predictions: Any, style: Style | None = None, **options: Any) -> str:
    return draw_reply("x.jpg", Reply(predictions=predictions, timings=None, seconds=0.05), style or Style(), **options)


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
def test_a_score_that_is_no_number(score: Any) -> None:
    assert draw(top(("cat", score))).splitlines()[1] == "  1  cat        -"


def test_other_tasks_are_shown_as_json() -> None:
    assert draw({"boxes": [1]}).splitlines()[1:] == ["  {", '    "boxes": [', "      1", "    ]", "  }"]
    assert draw({"top": [{"label": "x"}]}).splitlines()[1] == "  {"
    assert draw({"top": 3}, 7, None).splitlines()[-2:] == ["  7", "  null"]


def test_missing_timings_are_said() -> None:
    assert draw(timings=True).splitlines() == ["x.jpg", "  the server reports no timings", "  round trip      50.0 ms"]


def test_names_and_labels_cannot_command_the_terminal() -> None:
    assert "\x1b" not in draw(top(("\x1b[2Jcat\n", 0.5)))
    assert printable(
        "a\x1b[31m\r\u202eb\ud800"
    ) == "a\N{REPLACEMENT CHARACTER}[31m" + "\N{REPLACEMENT CHARACTER}" * 2 + ("b\N{REPLACEMENT CHARACTER}")


def test_a_plain_stream_gets_no_colour_and_ascii_no_blocks() -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")

    assert Style.of(stream) == Style(colour=False, blocks=False)
    assert draw(top(("cat", 0.5)), style=Style.of(stream)).isascii()


def test_json_is_one_line_of_ascii() -> None:
    line = json_line("ü\udcff\n.jpg", Reply(predictions=({"label": "ü"},), timings=None, seconds=0.0), timings=True)

    assert line.isascii()
    assert "\n" not in line
    assert line.endswith('"timings": {}}')


def waiting(problem: str) -> ChainState:
    part = PartState(name="predictor", ready=0 if problem else 1, wanted=1, problem=problem)
    stages = (StageState(index=0, service="one", parts=(part,)),)
    return ChainState(name="one", namespace="vision", stages=stages)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def show_all(stream: io.StringIO) -> str:
    shown = Waiting("one", stream)
    for problem in ("starting", "starting", "a\x1bb", ""):
        shown.show(waiting(problem))
    shown.clear()
    return stream.getvalue()


def test_what_is_waited_for_is_said_once_in_a_file() -> None:
    line = "waiting for one: stage 0 one: predictor 0/1:"

    assert show_all(io.StringIO()) == f"{line} starting\n{line} a\N{REPLACEMENT CHARACTER}b\n"


def test_what_is_waited_for_takes_one_line_of_a_terminal() -> None:
    shown = show_all(Terminal()).split("\r\x1b[K")

    assert len(shown) == 5
    assert shown[1].startswith("waiting for one (0 s): stage 0 one: predictor 0/1: start")
    assert (shown[0], shown[-1]) == ("", "")
    assert "\n" not in "".join(shown)


def test_nothing_is_said_of_a_chain_that_is_ready() -> None:
    stream = io.StringIO()
    Waiting("one", stream).show(waiting(""))

    assert stream.getvalue() == ""
