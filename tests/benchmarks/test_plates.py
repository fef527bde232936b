"""Arguments of the benchmark."""

import sys

import pytest

from benchmarks.plates import main


def test_arguments_are_checked_before_anything_is_measured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["plates", "--rounds", "few"])

    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert "argument --rounds: invalid int value: 'few'" in capsys.readouterr().err
