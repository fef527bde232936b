"""Vendored modules: found by following imports, without those for type checkers."""

import subprocess
import sys
import zipfile
from pathlib import Path

from shardline.formats.vendored import third_party, vendored_modules, write_vendored


def test_only_needed_modules_are_vendored() -> None:
    modules = vendored_modules(["shardline.predictors.picture", "shardline.tasks.registry"])

    assert {
        "shardline.wire.errors",
        "shardline.tasks.classify",
        "shardline.storage.bundle",
        "shardline.predictors",
    } <= modules.keys()
    assert not {"shardline.predictors.shard", "shardline.storage.gcs", "shardline.partition.runtime"} & modules.keys()


def test_imports_for_type_checkers_are_not_followed() -> None:
    """The Python API in shardline/__init__.py names half of the project under `if TYPE_CHECKING:`."""
    assert vendored_modules(["shardline.wire.errors"]).keys() == {
        "shardline",
        "shardline.wire",
        "shardline.wire.errors",
    }


def test_third_party_modules_are_those_that_loading_imports() -> None:
    assert third_party(["shardline.wire.frame"]) == {"numpy", "ml_dtypes"}
    assert third_party(["shardline.wire.errors"]) == set()


def test_the_zip_can_be_imported_and_is_always_the_same(tmp_path: Path) -> None:
    path, again = tmp_path / "modules.zip", tmp_path / "again.zip"
    write_vendored(path, ["shardline.wire.frame"])
    write_vendored(again, ["shardline.wire.frame"])
    command = [sys.executable, "-c", "import shardline.wire.frame as frame; print(frame.__file__)"]
    done = subprocess.run(
        command, env={"PYTHONPATH": str(path)}, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True
    )

    assert path.read_bytes() == again.read_bytes()
    assert done.stdout.strip() == str(path / "shardline/wire/frame.py")
    with zipfile.ZipFile(path) as archive:
        assert "shardline/wire/frame.py" in archive.namelist()
