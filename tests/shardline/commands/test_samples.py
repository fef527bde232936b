"""`shardline samples`: photographs that Pillow opens."""

from pathlib import Path

from PIL import Image
from services.cli import run_command


def test_photographs_are_copied_and_listed(tmp_path: Path) -> None:
    done = run_command("samples", str(tmp_path / "photos"))

    files = sorted((tmp_path / "photos").iterdir())
    assert sorted(done.stdout.split()) == [str(path) for path in files]
    assert len(files) >= 5
    for path in files:
        with Image.open(path) as picture:
            picture.verify()
