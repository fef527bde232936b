"""The contract of a Store, run against each implementation. A new one joins by a line in FACTORIES."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from services.stores import MemoryStore, put_bytes

from shardline.storage.gcs import CHUNK_BYTES
from shardline.storage.open import open_store
from shardline.storage.store import FolderStore, Store
from shardline.wire.errors import StorageError

FACTORIES: dict[str, Callable[[Path, pytest.FixtureRequest], Store]] = {
    "FolderStore": lambda root, _: FolderStore(root),
    "MemoryStore": lambda _, __: MemoryStore(),
    "GcsStore": lambda _, request: request.getfixturevalue("gcs_store"),
}
STORES = [
    pytest.param(factory, id=name, marks=[pytest.mark.slow] if name == "GcsStore" else [])
    for name, factory in FACTORIES.items()
]
BAD_NAMES = ["", ".", "..", "/etc/passwd", "../up", "a/../../b", "a//b", "a/", "./a", "a\\b", "a\0b", "a\nb"]


@pytest.fixture
def gcs_store(emulator: str, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A prefix of its own in a real emulator's bucket."""
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", emulator)
    return open_store(f"gs://models/{uuid4().hex}")


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    root = tmp_path / "root"
    root.mkdir()
    opened: Store = request.param(root, request)
    return opened


def test_empty(store: Store) -> None:
    assert store.names() == []


def test_reads_what_was_written(store: Store) -> None:
    put_bytes(store, "stages/0/a b.bin", b"\0\xff")

    assert store.read("stages/0/a b.bin") == b"\0\xff"


def test_write_replaces(store: Store) -> None:
    put_bytes(store, "a", b"long content")
    put_bytes(store, "a", b"")

    assert store.read("a") == b""
    assert store.names() == ["a"]


def test_names_are_sorted_and_have_the_prefix(store: Store) -> None:
    for name in ("stages/10/a", "b", "stages/1/a", ".hidden", "stages/1/c/d", "stages.txt"):
        put_bytes(store, name, b"")

    assert store.names() == [".hidden", "b", "stages.txt", "stages/1/a", "stages/1/c/d", "stages/10/a"]
    assert store.names("stages/1/") == ["stages/1/a", "stages/1/c/d"]
    assert store.names("stages/1") == ["stages/1/a", "stages/1/c/d", "stages/10/a"]
    assert store.names("nothing") == []


def test_save(store: Store, tmp_path: Path) -> None:
    put_bytes(store, "a/b", b"content")
    store.save("a/b", tmp_path / "new/folder/file")

    assert (tmp_path / "new/folder/file").read_bytes() == b"content"


def test_save_replaces_a_file_and_a_broken_link(store: Store, tmp_path: Path) -> None:
    put_bytes(store, "a", b"content")
    (tmp_path / "file").write_text("old")
    (tmp_path / "link").symlink_to(tmp_path / "gone")

    for name in ("file", "link"):
        store.save("a", tmp_path / name)
        assert (tmp_path / name).read_bytes() == b"content"
    assert not (tmp_path / "gone").exists()


def test_save_twice(store: Store, tmp_path: Path) -> None:
    for content in (b"one", b"two"):
        put_bytes(store, "a", content)
        store.save("a", tmp_path / "file")
        assert (tmp_path / "file").read_bytes() == content


class Counted:
    def __init__(self) -> None:
        self.moved_bytes = self.skipped_bytes = 0

    def begin(self, total_bytes: int) -> None:
        pass

    def moved(self, size_bytes: int) -> None:
        self.moved_bytes += size_bytes

    def skipped(self, size_bytes: int) -> None:
        self.skipped_bytes += size_bytes


@pytest.mark.parametrize("size_bytes", [0, 1, CHUNK_BYTES, CHUNK_BYTES + 1, 2 * CHUNK_BYTES])
def test_put_and_save_count_bytes(store: Store, tmp_path: Path, size_bytes: int) -> None:
    content = bytes(index % 251 for index in range(1000)) * (size_bytes // 1000 + 1)
    (tmp_path / "file").write_bytes(content[:size_bytes])
    sent, fetched = Counted(), Counted()

    store.put("a/b", tmp_path / "file", sent)
    store.save("a/b", tmp_path / "again", fetched)

    assert (tmp_path / "again").read_bytes() == content[:size_bytes]
    assert store.read("a/b") == content[:size_bytes]
    assert (sent.moved_bytes, sent.skipped_bytes) == (size_bytes, 0)
    assert fetched.moved_bytes == size_bytes


def test_put_of_nothing(store: Store, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot be read or written"):
        store.put("a", tmp_path / "none")
    assert store.names() == []


def test_holds_what_is_equal(store: Store, tmp_path: Path) -> None:
    put_bytes(store, "a", b"content")
    for name, content, expected in (
        ("a", b"content", True),
        ("a", b"contenT", False),  # as long
        ("a", b"content ", False),
        ("b", b"content", False),
    ):
        (tmp_path / "file").write_bytes(content)
        assert store.holds(name, tmp_path / "file") is expected


def test_entries(store: Store) -> None:
    put_bytes(store, "a/b", b"12")
    put_bytes(store, "c", b"")

    entries = store.entries()

    assert [(entry.name, entry.size_bytes) for entry in entries] == [("a/b", 2), ("c", 0)]
    assert all(abs(entry.modified - datetime.now(UTC)) < timedelta(minutes=5) for entry in entries)
    assert [entry.name for entry in store.entries("a/")] == ["a/b"]


def test_delete(store: Store) -> None:
    put_bytes(store, "a/b/c", b"")
    put_bytes(store, "a/d", b"")

    for _ in range(2):
        store.delete("a/b/c")
        assert store.names() == ["a/d"]


def test_missing(store: Store, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="a/b"):
        store.read("a/b")
    with pytest.raises(StorageError, match="a/b"):
        store.save("a/b", tmp_path / "file")
    assert not (tmp_path / "file").exists()


@pytest.mark.parametrize("name", BAD_NAMES)
def test_bad_names(store: Store, tmp_path: Path, name: str) -> None:
    with pytest.raises(StorageError, match="is no name in a store"):
        store.read(name)
    with pytest.raises(StorageError, match="is no name in a store"):
        store.save(name, tmp_path / "file")
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="is no name in a store"):
        store.put(name, tmp_path / "file")
    with pytest.raises(StorageError, match="is no name in a store"):
        store.holds(name, tmp_path / "file")
    with pytest.raises(StorageError, match="is no name in a store"):
        store.delete(name)


def test_cannot_be_saved_there(store: Store, tmp_path: Path) -> None:
    put_bytes(store, "a", b"")
    (tmp_path / "file").touch()

    with pytest.raises(StorageError, match="cannot be read or written"):
        store.save("a", tmp_path / "file/below")
