"""The wheel: one top-level name, and a command that works without the repository."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel of this tree, built by setuptools as pip would, in a copy: a build leaves files behind."""
    folder = tmp_path_factory.mktemp("wheel")
    listed = subprocess.run(
        ["git", "ls-files", "-z", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, check=True
    )
    subprocess.run(
        ["tar", "--create", "--null", "--files-from=-", f"--file={folder}/tree.tar"],
        cwd=ROOT,
        input=listed.stdout,
        check=True,
    )
    (folder / "tree").mkdir()
    subprocess.run(["tar", "--extract", f"--file={folder}/tree.tar", "--directory", str(folder / "tree")], check=True)
    subprocess.run(
        [sys.executable, "-c", "from setuptools import build_meta; build_meta.build_wheel('..')"],
        cwd=folder / "tree",
        capture_output=True,
        check=True,
        timeout=300,
    )
    return next(folder.glob("*.whl"))


def test_one_top_level_name(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name.partition("/")[0] for name in archive.namelist()}

    assert sorted(names) == ["shardline", wheel.name[: -len("-py3-none-any.whl")] + ".dist-info"]


def test_has_every_module_and_data_file(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if name.startswith("shardline/")}
    data = {
        "shardline/py.typed",
        "shardline/training/detector/plates.safetensors",
        "shardline/training/evaluation/page.html.jinja",
    }
    links = [path.name for path in (ROOT / "shardline").iterdir() if path.is_symlink()]
    modules = {f"shardline/{path.relative_to(ROOT)}" for name in links for path in (ROOT / name).rglob("*.py")}

    assert data | modules <= packed


def test_works_without_the_repository(wheel: Path, tmp_path: Path) -> None:
    """In an environment of its own, from a folder with a tasks.py."""
    folder = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    (tmp_path / "tasks.py").write_text("raise SystemExit('the wrong module was imported')\n")
    program = (
        "import shardline, runpy, sys; sys.argv = ['shardline', '--version']; print(shardline.__file__); "
        "runpy.run_module('shardline', run_name='__main__')"
    )

    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={"PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(str(folder / "shardline"))
