"""Fetching a model as a pod does: links for file://, KServe's own downloader for all else, and their errors."""

from collections.abc import Callable
from pathlib import Path

import pytest

from shardline.storage.bundle import Bundle
from shardline.storage.bundle_folder import read_stage
from shardline.storage.initializer import fetch
from shardline.storage.push import push
from shardline.wire.errors import StorageError


class TestFileUri:
    def test_links(self, source: Path, tmp_path: Path) -> None:
        """Gigabytes are not copied."""
        fetch(source.as_uri(), tmp_path / "out")

        link = tmp_path / "out/stages/0/shard.pt2"
        assert link.is_symlink()
        assert link.readlink().is_absolute()
        assert link.read_bytes() == b"shard"

    def test_onto_itself(self, source: Path) -> None:
        fetch(source.as_uri(), source)

        assert not (source / "stages/0/shard.pt2").is_symlink()
        assert (source / "stages/0/shard.pt2").read_bytes() == b"shard"

    def test_through_a_link(self, source: Path, tmp_path: Path) -> None:
        """A download of a download leads to the file itself: the one between may go."""
        fetch(source.as_uri(), tmp_path / "a")
        fetch((tmp_path / "a").as_uri(), tmp_path / "b")
        (tmp_path / "a/stages/0/shard.pt2").unlink()

        assert (tmp_path / "b/stages/0/shard.pt2").read_bytes() == b"shard"

    def test_empty_folder(self, tmp_path: Path) -> None:
        (tmp_path / "empty").mkdir()

        with pytest.raises(StorageError, match=r"/empty holds no files"):
            fetch((tmp_path / "empty").as_uri(), tmp_path / "out")


@pytest.mark.slow
def test_stage_from_a_bucket(
    write: Callable[..., Bundle], bucket: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    bundle = write(tmp_path / "bundle")
    uri = push(tmp_path / "bundle", bucket)

    fetch(f"{uri}/stages/1", tmp_path / "models")

    assert read_stage(tmp_path / "models", bundle.digest)[1].index == 1
    assert capfd.readouterr() == ("", "")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("gs://models/nothing", r"gs://models/nothing cannot be fetched: .*not found"),
        ("gs://none/a", "gs://none/a cannot be fetched: .*not found"),
        ("ftp://host/a", "ftp://host/a cannot be fetched: Cannot recognize storage type"),
    ],
)
@pytest.mark.usefixtures("bucket")
def test_not_there(tmp_path: Path, uri: str, message: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(StorageError, match=message) as raised:
        fetch(uri, tmp_path / "models")

    assert "\n" not in str(raised.value)
    assert capfd.readouterr() == ("", "")
