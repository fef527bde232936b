"""What the local run fetches with KServe's downloader, and what it says when it cannot."""

from collections.abc import Callable
from pathlib import Path

import pytest

from shardline.storage.bundle import Bundle
from shardline.storage.bundle_folder import read_stage
from shardline.storage.initializer import fetch
from shardline.storage.push import push
from shardline.wire.errors import StorageError


def test_file_is_linked(write: Callable[..., Bundle], tmp_path: Path) -> None:
    write(tmp_path / "bundle")

    fetch((tmp_path / "bundle/stages/1").as_uri(), tmp_path / "models")
    assert (tmp_path / "models/shard.pt2").is_symlink()


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
