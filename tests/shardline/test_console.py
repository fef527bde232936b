"""The consoles: results on stdout, everything else on stderr."""

import pytest
from rich.table import Table

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


def test_a_name_cannot_control_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    hostile = "cat\x1b[2J\x9b5m\N{RIGHT-TO-LEFT OVERRIDE}gpj"
    table = Table()
    table.add_column(hostile)
    table.add_row(hostile)
    out.print(hostile, markup=False)
    out.print(table)
    err.print(f"[bold]{hostile}[/bold]")
    say(f"{hostile}\nnext: rm -rf /")
    printed = "".join(capsys.readouterr())

    assert not [char for char in printed if not char.isprintable() and char != "\n"]
    assert printed.count("cat\N{REPLACEMENT CHARACTER}[2J") == 5
    assert "\nnext" not in printed
