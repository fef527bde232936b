"""The user's temporary folders: what a killed chain leaves is removed, and nothing else."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from shardline.storage.user_cache import RUN_PREFIX, in_use, remove_unused_runs


@pytest.fixture
def temporary(tmp_path: Path) -> Iterator[Path]:
    before = tempfile.tempdir
    tempfile.tempdir = str(tmp_path)
    yield tmp_path
    tempfile.tempdir = before


def make(folder: Path, *, old: bool = True) -> Path:
    (folder / "small-0").mkdir(parents=True)
    if old:
        os.utime(folder, (0, 0))
    return folder


def test_only_old_unlocked_folders_of_chains_are_removed(temporary: Path) -> None:
    left = make(temporary / f"{RUN_PREFIX}left")
    used = make(temporary / f"{RUN_PREFIX}used")
    young = make(temporary / f"{RUN_PREFIX}young", old=False)
    other = make(temporary / "other")
    link = temporary / f"{RUN_PREFIX}link"
    link.symlink_to(other)
    with suppress(NotImplementedError):
        os.utime(link, (0, 0), follow_symlinks=False)

    with in_use(used):
        remove_unused_runs()

    assert [path.exists() for path in (left, used, young, other, link)] == [False, True, True, True, True]
