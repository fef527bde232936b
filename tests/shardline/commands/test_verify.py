"""`shardline verify`: what it prints, and a bundle that was altered."""

import shutil
from pathlib import Path

import pytest
from services.cli import run_command as shardline

pytestmark = pytest.mark.slow


def test_verify_without_json_says_split_equals_whole(small_bundle: Path, photos: Path) -> None:
    text = shardline("verify", str(small_bundle), "--images", str(photos)).stdout

    assert text.startswith("split == whole: 12 of 12 pictures")
    assert "max abs difference 0," in text


def test_an_altered_bundle_is_refused(small_bundle: Path, tmp_path: Path, photos: Path) -> None:
    shutil.copytree(small_bundle, tmp_path / "bundle")
    (tmp_path / "bundle" / "stages" / "1" / "shard.pt2").write_bytes(b"PK")

    result = shardline("verify", str(tmp_path / "bundle"), "--images", str(photos), code=1)

    assert "stages/1/shard.pt2 has 2 bytes" in result.stderr
