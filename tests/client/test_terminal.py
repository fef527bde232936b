"""Colours, the progress bar and the waiting line, in a terminal and in a plain file."""

import io

import pytest

from shardline.client.readiness import ChainState, ComponentState, StageState
from shardline.client.terminal import ProgressBar, TerminalStyle, WaitingLine, shorten


def waiting(problem: str) -> ChainState:
    part = ComponentState(name="predictor", ready=0 if problem else 1, wanted=1, problem=problem)
    stages = (StageState(index=0, service="one", parts=(part,)),)
    return ChainState(name="one", namespace="vision", stages=stages)


class TerminalStream(io.StringIO):
    def isatty(self) -> bool:
        return True


def show_all(stream: io.StringIO) -> str:
    shown = WaitingLine("one", stream)
    for problem in ("starting", "starting", "a\x1bb", ""):
        shown.show(waiting(problem))
    shown.clear()
    return stream.getvalue()


def test_a_file_gets_one_line_for_each_change() -> None:
    line = "waiting for one: stage 0 one: predictor 0/1:"

    assert show_all(io.StringIO()) == f"{line} starting\n{line} a\N{REPLACEMENT CHARACTER}b\n"


def test_a_terminal_gets_one_line_that_changes() -> None:
    shown = show_all(TerminalStream()).split("\r\x1b[K")

    assert len(shown) == 5
    assert shown[1].startswith("waiting for one (0 s): stage 0 one: predictor 0/1: start")
    assert (shown[0], shown[-1]) == ("", "")
    assert "\n" not in "".join(shown)


def test_a_ready_chain_reports_nothing() -> None:
    stream = io.StringIO()
    WaitingLine("one", stream).show(waiting(""))

    assert stream.getvalue() == ""


def test_a_progress_bar_is_for_terminals_and_for_several_items() -> None:
    stream = TerminalStream()
    bar = ProgressBar(4, stream)
    bar.show(2)
    bar.clear()
    ProgressBar(1, stream).show(1)
    file = io.StringIO()
    ProgressBar(4, file).show(2)

    assert stream.getvalue().startswith("\r[####")
    assert stream.getvalue().endswith("] 2/4\r\x1b[K")
    assert file.getvalue() == ""


def test_colours_can_be_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert TerminalStyle.of(TerminalStream()).bold("x") == "\x1b[1mx\x1b[0m"

    monkeypatch.setenv("NO_COLOR", "1")
    assert TerminalStyle.of(TerminalStream()).bold("x") == "x"


def test_long_text_ends_with_an_ellipsis() -> None:
    assert shorten("abcdef", 4) == "abc…"
    assert shorten("a\x1bc", 4) == "a\N{REPLACEMENT CHARACTER}c"
