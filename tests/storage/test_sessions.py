"""What is remembered of upload sessions, by whom and for how long."""

import os
import stat
import time
from pathlib import Path

import pytest

from shardline.storage.sessions import KEPT_S, session_slot


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return tmp_path / "shardline/uploads"


def test_remembers_by_key() -> None:
    with session_slot("host", "gs://m/a", "md5") as slot:
        assert slot.url == ""
        slot.remember("http://host/long")
        slot.remember("http://host/1")

    with session_slot("host", "gs://m/a", "md5") as slot:
        assert slot.url == "http://host/1"
    with session_slot("host", "gs://m/a", "other content") as slot:
        assert slot.url == ""


def test_forgets(folder: Path) -> None:
    with session_slot("a") as slot:
        slot.remember("http://host/1")
    with session_slot("a") as slot:
        slot.remember("")

    assert list(folder.iterdir()) == []


def test_keeps_what_a_failure_left() -> None:
    def fail() -> None:
        with session_slot("a") as slot:
            slot.remember("http://host/1")
            raise OSError("broken")

    with pytest.raises(OSError, match="broken"):
        fail()

    with session_slot("a") as slot:
        assert slot.url == "http://host/1"


def test_is_for_one_at_a_time() -> None:
    """Two processes that send to one session would be in each other's way."""
    with session_slot("a") as first:
        first.remember("http://host/1")
        with session_slot("a") as second:
            assert second.url == ""
            second.remember("http://host/2")
            second.remember("")

    with session_slot("a") as slot:
        assert slot.url == "http://host/1"


def test_only_the_owner_reads_it(folder: Path) -> None:
    """Whoever has the URL can write the object."""
    with session_slot("a") as slot:
        slot.remember("http://host/1")

    [path] = folder.iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_old_ones_go(folder: Path) -> None:
    for key, age_s in ("old", KEPT_S + 60), ("young", KEPT_S - 3600):
        with session_slot(key) as slot:
            slot.remember(key)
        [path] = [path for path in folder.iterdir() if path.read_text() == key]
        os.utime(path, (time.time() - age_s,) * 2)

    with session_slot("another"):
        pass
    assert [path.read_text() for path in folder.iterdir()] == ["young"]


def test_no_place_to_remember(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))

    with session_slot("a") as slot:
        slot.remember("http://host/1")
        assert slot.url == "http://host/1"
