"""file:// URIs, and what is FolderStore's own. What every store does stands in tests/contracts/test_store.py."""

from pathlib import Path

import pytest

from shardline.storage.folder import FolderStore
from shardline.storage.store import download, open_store
from shardline.wire.errors import StorageError


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A folder whose name has what URIs must encode."""
    folder = tmp_path / "my models#1 ü"
    (folder / "stages/0").mkdir(parents=True)
    (folder / "stages/0/shard.pt2").write_bytes(b"shard")
    return folder


class TestDownload:
    def test_links(self, source: Path, tmp_path: Path) -> None:
        """Gigabytes are not copied."""
        download(source.as_uri(), tmp_path / "out")

        link = tmp_path / "out/stages/0/shard.pt2"
        assert link.is_symlink()
        assert link.readlink().is_absolute()
        assert link.read_bytes() == b"shard"

    def test_onto_itself(self, source: Path) -> None:
        download(source.as_uri(), source)

        assert not (source / "stages/0/shard.pt2").is_symlink()
        assert (source / "stages/0/shard.pt2").read_bytes() == b"shard"

    def test_through_a_link(self, source: Path, tmp_path: Path) -> None:
        """A download of a download leads to the file itself: the one between may go."""
        download(source.as_uri(), tmp_path / "a")
        download((tmp_path / "a").as_uri(), tmp_path / "b")
        (tmp_path / "a/stages/0/shard.pt2").unlink()

        assert (tmp_path / "b/stages/0/shard.pt2").read_bytes() == b"shard"

    def test_empty_folder(self, tmp_path: Path) -> None:
        (tmp_path / "empty").mkdir()

        with pytest.raises(StorageError, match=r"/empty holds no files"):
            download((tmp_path / "empty").as_uri(), tmp_path / "out")


class TestOpenStore:
    def test_localhost(self, source: Path) -> None:
        store = open_store(source.as_uri().replace("file:///", "file://localhost/"))

        assert store.names() == ["stages/0/shard.pt2"]

    @pytest.mark.parametrize(
        ("uri", "message"),
        [
            ("file://models/resnet50", "no absolute path"),
            ("file://", "no absolute path"),
            ("file:///there/is/none", "no folder /there/is/none"),
            ("file:///tmp?version=1", "write %3F or %23"),
            ("file:///tmp#1", "write %3F or %23"),
            ("file:///%FF", "is no URI"),
            ("file://[/x", "is no URI"),
            ("file:///a%00b", "no folder"),
            ("file:/tmp", "allowed: file://"),
            ("/tmp", "allowed: file://"),
            ("", "allowed: file://"),
            ("ftp://host/model", "allowed: file://"),
            ("FILE:///tmp", "allowed: file://"),
        ],
    )
    def test_refused(self, uri: str, message: str) -> None:
        with pytest.raises(StorageError, match=message):
            open_store(uri)

    def test_a_file(self, source: Path) -> None:
        with pytest.raises(StorageError, match="there is no folder"):
            open_store((source / "stages/0/shard.pt2").as_uri())


class TestFolderStore:
    def test_failed_write_leaves_the_old_file(self, source: Path) -> None:
        store = FolderStore(source)

        with pytest.raises(StorageError):
            store.write("stages/0/shard.pt2/below", b"")

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
