"""What every Store must do, whichever it is. A new one joins by a line in STORES."""

from collections.abc import Callable
from pathlib import Path

import pytest

from storage.folder import FolderStore
from storage.memory import MemoryStore
from storage.store import Store, save_all
from wire.errors import StorageError

STORES: dict[str, Callable[[Path], Store]] = {"FolderStore": FolderStore, "MemoryStore": lambda _: MemoryStore()}
BAD_NAMES = ["", ".", "..", "/etc/passwd", "../up", "a/../../b", "a//b", "a/", "./a", "a\\b", "a\0b", "a\nb"]


@pytest.fixture(params=STORES.values(), ids=STORES.keys())
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    root = tmp_path / "root"
    root.mkdir()
    opened: Store = request.param(root)
    return opened


def test_empty(store: Store) -> None:
    assert store.names() == []


def test_reads_what_was_written(store: Store) -> None:
    store.write("stages/0/a b.bin", b"\0\xff")

    assert store.read("stages/0/a b.bin") == b"\0\xff"


def test_write_replaces(store: Store) -> None:
    store.write("a", b"long content")
    store.write("a", b"")

    assert store.read("a") == b""
    assert store.names() == ["a"]


def test_names_are_sorted_and_have_the_prefix(store: Store) -> None:
    for name in ("stages/10/a", "b", "stages/1/a", ".hidden", "stages/1/c/d", "stages.txt"):
        store.write(name, b"")

    assert store.names() == [".hidden", "b", "stages.txt", "stages/1/a", "stages/1/c/d", "stages/10/a"]
    assert store.names("stages/1/") == ["stages/1/a", "stages/1/c/d"]
    assert store.names("stages/1") == ["stages/1/a", "stages/1/c/d", "stages/10/a"]
    assert store.names("nothing") == []


def test_save(store: Store, tmp_path: Path) -> None:
    store.write("a/b", b"content")
    store.save("a/b", tmp_path / "new/folder/file")

    assert (tmp_path / "new/folder/file").read_bytes() == b"content"


def test_save_replaces_a_file_and_a_broken_link(store: Store, tmp_path: Path) -> None:
    store.write("a", b"content")
    (tmp_path / "file").write_text("old")
    (tmp_path / "link").symlink_to(tmp_path / "gone")

    for name in ("file", "link"):
        store.save("a", tmp_path / name)
        assert (tmp_path / name).read_bytes() == b"content"
    assert not (tmp_path / "gone").exists()


def test_save_twice(store: Store, tmp_path: Path) -> None:
    for content in (b"one", b"two"):
        store.write("a", content)
        store.save("a", tmp_path / "file")
        assert (tmp_path / "file").read_bytes() == content


def test_missing(store: Store, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="a/b"):
        store.read("a/b")
    with pytest.raises(StorageError, match="a/b"):
        store.save("a/b", tmp_path / "file")
    assert not (tmp_path / "file").exists()


@pytest.mark.parametrize("name", BAD_NAMES)
def test_bad_names(store: Store, tmp_path: Path, name: str) -> None:
    with pytest.raises(StorageError, match="is no name in a store"):
        store.write(name, b"")
    with pytest.raises(StorageError, match="is no name in a store"):
        store.read(name)
    with pytest.raises(StorageError, match="is no name in a store"):
        store.save(name, tmp_path / "file")


def test_cannot_be_saved_there(store: Store, tmp_path: Path) -> None:
    store.write("a", b"")
    (tmp_path / "file").touch()

    with pytest.raises(StorageError, match="cannot be read or written"):
        store.save("a", tmp_path / "file/below")


def test_save_all(store: Store, tmp_path: Path) -> None:
    store.write("bundle.json", b"{}")
    store.write("stages/0/shard.pt2", b"shard")

    save_all(store, tmp_path / "out")
    save_all(store, tmp_path / "out")

    files = sorted(path for path in (tmp_path / "out").rglob("*") if path.is_file())
    assert {path.relative_to(tmp_path / "out").as_posix(): path.read_bytes() for path in files} == {
        "bundle.json": b"{}",
        "stages/0/shard.pt2": b"shard",
    }


def test_save_all_of_nothing(store: Store, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="holds no files"):
        save_all(store, tmp_path / "out")
