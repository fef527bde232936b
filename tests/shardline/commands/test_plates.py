"""`shardline plates draw`: every mistake is one line, and data sets do not mix."""

from pathlib import Path

import pytest
from services.cli import run_command


def draw(folder: Path, *more: str) -> list[str]:
    return ["plates", "draw", "--out", str(folder), "--count", "1", "--seed", "5", "--size", "200x160", *more]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--size", "big"), "write pixels, such as 512 or 640x480"),
        (("--fonts", "mine"), "allowed are train, held-out, all"),
        (("--type", "round"), "allowed: regular, long"),
        (("--plates", "few"), "such as 2 or 1-3"),
        (("--text", "AB 12"), "00A 0000"),
        (("--format", "gif"), "allowed are png, jpg"),
        (("--rotation", "200"), "rotation may be 0 to 180"),
    ],
)
def test_a_mistake_is_one_line(more: tuple[str, ...], message: str, tmp_path: Path) -> None:
    done = run_command(*draw(tmp_path / "none", *more), code=1)

    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "none").exists()


def test_data_sets_do_not_mix(tmp_path: Path) -> None:
    done = run_command(*draw(tmp_path / "plates"))

    assert done.stdout.strip() == str(tmp_path / "plates" / "annotations.json")
    assert "is not empty" in run_command(*draw(tmp_path / "plates"), code=1).stderr
