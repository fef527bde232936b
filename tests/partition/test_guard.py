"""The guard around a user's code: its output, its errors with their position, and the file that holds the rest."""

import os
from pathlib import Path

import pytest

from shardline.partition.guard import converting, users_code
from shardline.wire.errors import ModelError, UsageError


def test_output_goes_to_stderr(capfd: pytest.CaptureFixture[str]) -> None:
    with users_code("net"):
        print("from Python")
        os.write(1, b"from C\n")
    print("result")

    found = capfd.readouterr()
    assert found.out == "result\n"
    assert {"from Python", "from C"} <= set(found.err.split("\n"))


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (
            ValueError("no such layer"),
            "net raised ValueError at tests/partition/test_guard.py:40: no such layer; fix it",
        ),
        (SystemExit(3), "net called sys.exit(3) at tests/partition/test_guard.py:40; fix it"),
        (KeyError(), "net raised KeyError at tests/partition/test_guard.py:40; fix it"),
    ],
)
def test_an_error_is_one_line_with_its_position(
    raised: BaseException, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(Path(__file__).parents[2])

    with pytest.raises(ModelError) as caught, users_code("net", "; fix it"):
        raise raised

    line = caught.tb.tb_lineno + 1
    assert str(caught.value) == expected.format(f"tests/partition/test_guard.py:{line}")


def test_our_own_errors_pass() -> None:
    with pytest.raises(UsageError, match="as it was"), users_code("net"):
        raise UsageError("as it was")


def fail_at_length() -> None:
    with converting("net is not taken"):
        print("a graph of a thousand lines")
        raise RuntimeError("long " * 200)


def test_what_a_line_does_not_hold_is_in_a_file(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ModelError) as caught:
        fail_at_length()

    line = str(caught.value)
    rest = Path(line.rpartition("all of it is in ")[2])
    assert len(line) < 600
    assert "long long …; all of it is in" in line
    assert rest.read_text().count("long") > 200
    assert "a graph of a thousand lines" in rest.read_text()
    assert capfd.readouterr().out == ""
    rest.unlink()
