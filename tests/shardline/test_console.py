"""The consoles: results on stdout, everything else on stderr."""

import pytest

from shardline.console import err, out, say


def test_streams(capsys: pytest.CaptureFixture[str]) -> None:
    out.print("result")
    err.print("note")
    say("pip install 'shardline[plots]' …")
    printed = capsys.readouterr()

    assert printed.out == "result\n"
    assert printed.err == "note\npip install 'shardline[plots]' …\n"


def test_long_lines_are_not_wrapped(capsys: pytest.CaptureFixture[str]) -> None:
    say("word " * 100)

    assert len(capsys.readouterr().err.splitlines()) == 1
