"""`shardline list` and `shardline clean`: bundles and leftovers, and nothing that is in use."""

import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from services.cli import run_command as shardline

from shardline.storage.bundle_folder import open_bundle
from shardline.storage.user_cache import in_use


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, small_bundle: Path) -> Path:
    """The cache of a user who measured, served a model, and had a run, a build and a pull killed."""
    folder = tmp_path / "cache" / "shardline"
    shutil.copytree(small_bundle, folder / "bundles" / "small-0123456789ab")
    (folder / "bundles" / ".small-0123456789ab.lock").touch()
    (folder / "profiles").mkdir()
    (folder / "profiles" / "a.json").write_bytes(b"x" * 2_000_000)
    (tmp_path / "tmp" / "shardline-up-abc" / "small-0").mkdir(parents=True)
    (tmp_path / "tmp" / "others").mkdir()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    return folder


@pytest.fixture
def place(tmp_path: Path, small_bundle: Path) -> Path:
    """A folder with a bundle, a hidden folder of the user's, and drafts."""
    shutil.copytree(small_bundle, tmp_path / "place" / "bundles" / "net")
    for name in (".net.draft.abcd1234", ".net.old.abcd1234", ".net.pull.0123456789ab", ".net.settings"):
        (tmp_path / "place" / "bundles" / name).mkdir()
    return tmp_path / "place"


def age(*folders: Path) -> None:
    """Make everything look an hour old: what is younger than a minute may belong to a process that just began."""
    for folder in folders:
        for path in (folder, *folder.rglob("*")):
            os.utime(path, (time.time() - 3600,) * 2)


def test_lists_bundles_below_a_folder_and_in_the_cache(cache: Path, place: Path, small_bundle: Path) -> None:
    bundle = open_bundle(small_bundle)

    head, *rows = shardline("list", str(place)).stdout.splitlines()
    found = json.loads(shardline("list", str(place), "--json").stdout)

    assert head.split()[2:] == ["name", "model", "task", "stages", "precision", "size", "digest", "folder"]
    assert [row.split()[-1] for row in rows] == [f"{place}/bundles/net", f"{cache}/bundles/small-0123456789ab"]
    assert [entry["folder"] for entry in found] == [row.split()[-1] for row in rows]
    assert found[0]["digest"] == bundle.digest
    assert (found[0]["name"], found[0]["stages"], found[0]["task"]) == ("small", 3, "classify")
    assert found[0]["size_bytes"] == sum(file.size_bytes for file in bundle.files.values())


def test_lists_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "none"))

    listed = shardline("list", str(tmp_path))

    assert listed.stdout == ""
    assert listed.stderr.startswith(f"no bundles below {tmp_path} and in {tmp_path}/none")
    assert "is not a folder" in shardline("list", str(tmp_path / "none"), code=1).stderr


@pytest.fixture
def leftovers(cache: Path, place: Path, tmp_path: Path) -> Callable[[], set[Path]]:
    """The paths that clean may delete and that are still there."""
    age(tmp_path / "tmp", place, cache)
    paths = {
        cache / "profiles",
        cache / "bundles" / "small-0123456789ab",
        cache / "bundles" / ".small-0123456789ab.lock",
        tmp_path / "tmp" / "shardline-up-abc",
        *(place / "bundles" / name for name in (".net.draft.abcd1234", ".net.old.abcd1234", ".net.pull.0123456789ab")),
    }
    return lambda: {path for path in paths if path.exists()}


def test_cleans_after_it_was_allowed_to(place: Path, tmp_path: Path, leftovers: Callable[[], set[Path]]) -> None:
    before = leftovers()

    listed = shardline("clean", str(place), "--dry-run")
    refused = shardline("clean", str(place), code=1)
    assert leftovers() == before
    assert {Path(line.split()[-1]) for line in listed.stdout.splitlines()} == before
    assert listed.stderr.startswith("7 paths, 2")
    assert "give --yes to delete them" in refused.stderr

    assert shardline("clean", str(place), "--yes").stderr.startswith("deleted 7 paths, 2")
    assert leftovers() == set()
    assert open_bundle(place / "bundles" / "net")
    assert (place / "bundles" / ".net.settings").is_dir()
    assert (tmp_path / "tmp" / "others").is_dir()
    assert shardline("clean", str(place), "--yes").stderr == "nothing to delete\n"


def test_only_one_kind(place: Path, cache: Path, leftovers: Callable[[], set[Path]]) -> None:
    before = leftovers()

    shardline("clean", str(place), "--only", "measurements", "--yes")

    assert before - leftovers() == {cache / "profiles"}


def test_what_is_in_use_stays(place: Path, cache: Path, tmp_path: Path, leftovers: Callable[[], set[Path]]) -> None:
    used = {
        cache / "bundles" / "small-0123456789ab",
        tmp_path / "tmp" / "shardline-up-abc",
        place / "bundles" / ".net.draft.abcd1234",
    }
    first, second, third = used
    with in_use(first), in_use(second), in_use(third):
        shardline("clean", str(place), "--yes")

    assert leftovers() == used


def test_what_was_made_just_now_stays(place: Path, leftovers: Callable[[], set[Path]]) -> None:
    draft = place / "bundles" / ".net.draft.abcd1234"
    os.utime(draft)

    shardline("clean", str(place), "--yes", "--only", "leftovers")

    assert draft in leftovers()
