"""Storage URIs: which are opened, and what is said of the others. URIs of buckets are in test_gcs.py."""

from pathlib import Path

import pytest

from shardline.storage.open import open_store
from shardline.wire.errors import StorageError


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
