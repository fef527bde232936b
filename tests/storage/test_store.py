"""FolderStore: what the contract that all stores share does not say."""

from pathlib import Path

import pytest
from services.stores import put_bytes

from shardline.storage.store import FolderStore
from shardline.wire.errors import StorageError


class TestFolderStore:
    def test_failed_write_leaves_the_old_file(self, source: Path) -> None:
        store = FolderStore(source)

        with pytest.raises(StorageError):
            put_bytes(store, "stages/0/shard.pt2/below", b"")

        assert store.names() == ["stages/0/shard.pt2"]
        assert store.read("stages/0/shard.pt2") == b"shard"

    def test_delete_leaves_no_empty_folders(self, source: Path) -> None:
        FolderStore(source).delete("stages/0/shard.pt2")

        assert list(source.iterdir()) == []

    def test_put_copies(self, source: Path) -> None:
        """A pushed bundle stays as it was when the one that it was pushed from is built again."""
        store = FolderStore(source)
        store.put("copy", source / "stages/0/shard.pt2")
        (source / "stages/0/shard.pt2").write_bytes(b"new")

        assert store.read("copy") == b"shard"
