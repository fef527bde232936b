"""`import` and `export` as they are typed: what they print, and one line for every mistake."""

from pathlib import Path

import pytest
from services.cli import run_command

pytestmark = pytest.mark.slow


def test_export_prints_what_it_wrote(single_bundle: Path, tmp_path: Path) -> None:
    out = tmp_path / "scripts"
    printed = run_command("export", "torchscript", str(single_bundle), "--out", str(out)).stdout.splitlines()

    assert printed
    assert all(Path(line).is_file() for line in printed if not line.startswith("no "))


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("export", "torchscript", "tests", "--out", "OUT"), 1, "is it a bundle?"),
        (("export", "triton", "tests", "--out", "OUT", "--platform", "onyx"), 2, "onyx"),
        (("export", "torchserve", "tests", "--out", "OUT", "--port", "80"), 2, "greater than or equal to 1024"),
        (("import", "torchserve", "none.mar", "--out", "OUT"), 1, "none.mar"),
        (("import", "torchserve", "none.mar", "--out", "OUT", "--name", "1"), 1, "cannot name Kubernetes objects"),
        (("import", "torchserve", "none.mar", "--out", "OUT", "--std", "x"), 1, "write a number for each channel"),
    ],
)
def test_a_mistake_is_one_line(words: tuple[str, ...], code: int, message: str, tmp_path: Path) -> None:
    result = run_command(*(word.replace("OUT", str(tmp_path / "out")) for word in words), code=code)

    assert message in " ".join(result.stderr.split())
    assert result.stdout == ""
    assert not (tmp_path / "out").exists()
