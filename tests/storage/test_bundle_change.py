"""Other files beside the same shards: another bundle, in one step, or none at all."""

from collections.abc import Callable
from pathlib import Path

import pytest

from shardline.storage.bundle import Bundle
from shardline.storage.bundle_folder import changing_bundle, open_bundle
from shardline.wire.errors import BundleError


@pytest.fixture
def bundle_folder(write: Callable[..., Bundle], tmp_path: Path) -> Path:
    write(tmp_path / "small")
    return tmp_path / "small"


def test_files_come_and_go_and_the_rest_stays(bundle_folder: Path) -> None:
    before = open_bundle(bundle_folder)
    with changing_bundle(bundle_folder, ["stages/0/golden.safetensors", "more"]) as (draft, was):
        assert was == before
        assert not (draft / "stages/0/golden.safetensors").exists()
        (draft / "more").write_bytes(b"more")

    after = open_bundle(bundle_folder)
    kept = before.files.keys() - {"stages/0/golden.safetensors"}

    assert after.files.keys() == kept | {"more"}
    assert {path: after.files[path] for path in kept} == {path: before.files[path] for path in kept}
    assert after.digest != before.digest


def test_nothing_changed_is_the_same_bundle(bundle_folder: Path) -> None:
    before = open_bundle(bundle_folder)
    (bundle_folder / "unlisted").write_text("no part of it")

    with changing_bundle(bundle_folder, []):
        pass

    assert open_bundle(bundle_folder) == before
    assert not (bundle_folder / "unlisted").exists()


def test_a_failure_leaves_the_old_one(bundle_folder: Path) -> None:
    before = open_bundle(bundle_folder)

    def fail() -> None:
        with changing_bundle(bundle_folder, ["whole.pt2"]) as (draft, _):
            (draft / "whole.pt2").write_bytes(b"half of")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert open_bundle(bundle_folder) == before
    assert list(bundle_folder.parent.iterdir()) == [bundle_folder]


def test_somebody_else_s_change_is_not_lost(bundle_folder: Path) -> None:
    def change() -> Bundle:
        with changing_bundle(bundle_folder, ["a"]) as (draft, _):
            (draft / "a").write_text("mine")
            with changing_bundle(bundle_folder, ["b"]) as (other, _):
                (other / "b").write_text("theirs")
        return open_bundle(bundle_folder)

    with pytest.raises(BundleError, match="changed by another process meanwhile"):
        change()
    assert "b" in open_bundle(bundle_folder).files
