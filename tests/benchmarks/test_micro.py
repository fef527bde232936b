"""Micro-benchmarks in processes of their own: the last line is the result, a failure one message."""

import pytest

from benchmarks.micro import run_micro
from benchmarks.processes import UnavailableError


def test_the_last_line_is_the_result() -> None:
    figures = run_micro("codec")

    assert figures["benchmark"] == "codec"
    assert figures["codec_ms"] > 0


def test_a_benchmark_that_fails() -> None:
    with pytest.raises(UnavailableError, match=r"No module named benchmarks\.no_such_benchmark"):
        run_micro("no_such_benchmark")
