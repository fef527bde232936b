"""Push and pull with folders and memory: order, skipped files, refusals. Buckets are in test_gcs.py."""

import os
import re
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from services.stores import MemoryStore

from shardline.storage.bundle import BUNDLE_FILE, NAME_PATTERN, STAGE_FILE, Bundle, publishing_order
from shardline.storage.bundle_folder import open_bundle, read_stage
from shardline.storage.inventory import garbage, inventory
from shardline.storage.open import open_store
from shardline.storage.push import destination, prefix_of, pull, push, push_to
from shardline.storage.store import SILENT, Progress
from shardline.wire.errors import BundleError, StorageError

Write = Callable[..., Bundle]


@pytest.fixture
def bundle(write: Write, tmp_path: Path) -> Bundle:
    return write(tmp_path / "bundle")


@pytest.fixture
def models(tmp_path: Path) -> str:
    """The URI of an empty folder."""
    (tmp_path / "models").mkdir()
    return (tmp_path / "models").as_uri()


class WatchedStore(MemoryStore):
    """A store that records the order of its files, and fails at one."""

    def __init__(self, fails_at: str | None = None) -> None:
        super().__init__()
        self.order: list[str] = []
        self._fails_at = fails_at
        self._lock = threading.Lock()

    def put(self, name: str, path: Path, progress: Progress = SILENT) -> None:
        if self._fails_at is not None and name.endswith(self._fails_at):
            raise StorageError("the connection broke off")
        super().put(name, path, progress)
        with self._lock:
            self.order.append(name)


class TestDestination:
    @given(
        name=st.from_regex(NAME_PATTERN, fullmatch=True),
        uri=st.from_regex(r"(gs|s3|file)://[a-z0-9]{3,9}(/[A-Za-z0-9._-]{1,9}){0,3}/?", fullmatch=True),
    )
    def test_is_the_uri_the_name_and_the_digest(self, small_sealed: Bundle, name: str, uri: str) -> None:
        bundle = replace(small_sealed, name=name)
        found = destination(bundle, uri)

        assert found == f"{uri.removesuffix('/')}/{name}/{bundle.digest.removeprefix('sha256:')}"
        assert found.endswith(prefix_of(bundle))

    def test_root_folder(self, bundle: Bundle) -> None:
        assert destination(bundle, "file:///") == f"file:///{prefix_of(bundle)}"


@pytest.fixture(scope="module")
def small_sealed() -> Bundle:
    """A fixture for a property test: made once."""
    from shardline.storage.bundle import PictureSpec, Task
    from shardline.wire.limits import Limits

    return Bundle(
        name="small",
        model="torchvision:small",
        weights="random:0",
        precision="fp32",
        torch_version="2.14.1",
        task=Task(name="classify"),
        picture=PictureSpec(height=8, width=8),
        limits=Limits(),
        batch=4,
        max_instances=4,
        threads=1,
        stages=(),
    )


@pytest.mark.usefixtures("bundle")
class TestPush:
    def test_mirrors_the_bundle(self, bundle: Bundle, models: str, tmp_path: Path) -> None:
        uri = push(tmp_path / "bundle", models)

        assert uri == destination(bundle, models)
        there = tmp_path / "models" / prefix_of(bundle)
        assert open_bundle(there) == bundle
        assert read_stage(there / "stages/1", bundle.digest)[1].index == 1
        files = {path.relative_to(there).as_posix() for path in there.rglob("*") if path.is_file()}
        assert files == {name for names in publishing_order(bundle) for name in names}

    def test_bundle_json_goes_last(self, bundle: Bundle, tmp_path: Path) -> None:
        store = WatchedStore()
        push_to(store, tmp_path / "bundle", bundle)

        order = [name.removeprefix(f"{prefix_of(bundle)}/") for name in store.order]
        assert order[-1] == BUNDLE_FILE
        assert set(order[-3:-1]) == {f"stages/0/{BUNDLE_FILE}", f"stages/1/{BUNDLE_FILE}"}

    @pytest.mark.parametrize("name", ["whole.pt2", "stages/0/shard.pt2", f"stages/1/{STAGE_FILE}"])
    def test_a_failure_leaves_no_bundle_json(self, bundle: Bundle, tmp_path: Path, name: str) -> None:
        store = WatchedStore(fails_at=name)

        with pytest.raises(StorageError, match="broke off"):
            push_to(store, tmp_path / "bundle", bundle)

        assert [name for name in store.names() if name.endswith(BUNDLE_FILE)] == []

    def test_repeated_sends_bundle_json_alone(self, models: str, tmp_path: Path, counted: Any) -> None:
        size_bytes = sum(path.stat().st_size for path in (tmp_path / "bundle").rglob("*") if path.is_file())
        sent_bytes = (tmp_path / "bundle" / BUNDLE_FILE).stat().st_size
        push(tmp_path / "bundle", models)
        push(tmp_path / "bundle", models, progress=counted)

        assert (counted.total_bytes, counted.moved_bytes) == (size_bytes, sent_bytes)
        assert counted.skipped_bytes == size_bytes - sent_bytes

    def test_repeated_makes_the_bundle_new_again(self, bundle: Bundle, models: str, tmp_path: Path) -> None:
        """Garbage collection goes by the age: what somebody has just pushed stays, even if all of it was there."""
        push(tmp_path / "bundle", models)
        for path in (tmp_path / "models").rglob("*"):
            os.utime(path, (0, 0))
        store = open_store(models)
        [old] = garbage(inventory(store), [], older_than=timedelta(hours=1))
        assert old.path == prefix_of(bundle)

        push(tmp_path / "bundle", models)

        assert garbage(inventory(store), [], older_than=timedelta(hours=1)) == []

    def test_repairs_what_was_altered(self, bundle: Bundle, models: str, tmp_path: Path) -> None:
        uri = push(tmp_path / "bundle", models)
        there = tmp_path / "models" / prefix_of(bundle)
        (there / "stages/0/shard.pt2").write_bytes(b"b")
        (there / "whole.pt2").unlink()

        assert push(tmp_path / "bundle", models) == uri
        assert open_bundle(there) == bundle

    def test_two_versions_side_by_side(self, write: Write, models: str, tmp_path: Path) -> None:
        uris = []
        for fill in "ab":
            write(tmp_path / "bundle", fill)
            uris.append(push(tmp_path / "bundle", models))

        assert len(set(uris)) == 2
        for uri in uris:
            assert pull(uri, tmp_path / "pulled").digest.removeprefix("sha256:") in uri

    @pytest.mark.parametrize("name", ["whole.pt2", "stages/1/shard.pt2", f"stages/1/{STAGE_FILE}", BUNDLE_FILE])
    def test_sends_nothing_of_an_altered_bundle(self, models: str, tmp_path: Path, name: str) -> None:
        (tmp_path / "bundle" / name).write_bytes(b"other")

        with pytest.raises(BundleError):
            push(tmp_path / "bundle", models)
        assert open_store(models).names() == []

    @pytest.mark.parametrize("uri", ["s3://models", "models", "file:///there/is/none", ""])
    def test_nowhere_to_push(self, tmp_path: Path, uri: str) -> None:
        with pytest.raises(StorageError, match=re.escape(repr(uri))):
            push(tmp_path / "bundle", uri)


@pytest.mark.usefixtures("bundle")
class TestPull:
    @pytest.fixture
    def uri(self, bundle: Bundle, models: str, tmp_path: Path) -> str:
        push(tmp_path / "bundle", models)
        return destination(bundle, models)

    def test_gives_the_bundle(self, uri: str, bundle: Bundle, tmp_path: Path, counted: Any) -> None:
        assert pull(uri, tmp_path / "new/pulled", progress=counted) == bundle

        assert open_bundle(tmp_path / "new/pulled") == bundle
        assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["pulled"]
        assert counted.moved_bytes == counted.total_bytes > 0

    def test_stands_alone(self, uri: str, tmp_path: Path) -> None:
        """It has no links to the store that it came from."""
        pull(uri, tmp_path / "pulled")

        assert not any(path.is_symlink() for path in (tmp_path / "pulled").rglob("*"))

    def test_fetches_nothing_twice(self, uri: str, tmp_path: Path, counted: Any) -> None:
        pull(uri, tmp_path / "pulled")
        pull(uri, tmp_path / "pulled", progress=counted)

        assert counted.moved_bytes == 0

    def test_replaces_another_version(self, uri: str, write: Write, bundle: Bundle, tmp_path: Path) -> None:
        write(tmp_path / "pulled", "b")

        pull(uri, tmp_path / "pulled")
        assert open_bundle(tmp_path / "pulled") == bundle

    def test_leaves_another_folder_alone(self, uri: str, tmp_path: Path) -> None:
        (tmp_path / "mine").mkdir()
        (tmp_path / "mine/thesis.tex").touch()

        with pytest.raises(BundleError, match="is not a bundle"):
            pull(uri, tmp_path / "mine")
        assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.tex"]

    @pytest.mark.parametrize("name", ["whole.pt2", "stages/1/golden.safetensors", f"stages/1/{BUNDLE_FILE}"])
    def test_flipped_byte_then_repaired(
        self, uri: str, bundle: Bundle, write: Write, tmp_path: Path, name: str, counted: Any
    ) -> None:
        """The old bundle stays; the next pull fetches only what was wrong."""
        write(tmp_path / "pulled", "b")
        path = tmp_path / "models" / prefix_of(bundle) / name
        data = path.read_bytes()
        path.write_bytes(bytes([data[0] ^ 1]) + data[1:])

        with pytest.raises(BundleError, match=re.escape(name)):
            pull(uri, tmp_path / "pulled")
        assert open_bundle(tmp_path / "pulled") != bundle

        path.write_bytes(data)
        assert pull(uri, tmp_path / "pulled", progress=counted) == open_bundle(tmp_path / "pulled")
        assert counted.skipped_bytes > 0

    @pytest.mark.parametrize("name", ["stages/0/shard.pt2", f"stages/0/{STAGE_FILE}", f"stages/1/{BUNDLE_FILE}"])
    def test_missing_file(self, uri: str, bundle: Bundle, tmp_path: Path, name: str) -> None:
        (tmp_path / "models" / prefix_of(bundle) / name).unlink()

        with pytest.raises(StorageError, match=re.escape(name)):
            pull(uri, tmp_path / "pulled")
        assert not (tmp_path / "pulled").exists()

    def test_half_a_push(self, uri: str, bundle: Bundle, tmp_path: Path) -> None:
        (tmp_path / "models" / prefix_of(bundle) / BUNDLE_FILE).unlink()

        with pytest.raises(StorageError, match="a push that was not finished"):
            pull(uri, tmp_path / "pulled")

    @pytest.mark.usefixtures("uri")
    def test_no_bundle_there(self, models: str, tmp_path: Path) -> None:
        (tmp_path / "models/empty").mkdir()

        with pytest.raises(StorageError, match="holds no files"):
            pull(f"{models}/empty", tmp_path / "pulled")
        with pytest.raises(StorageError, match="was not finished"):  # the URI that was pushed to, not the bundle's
            pull(models, tmp_path / "pulled")

    def test_bundle_of_another_name(self, uri: str, write: Write, bundle: Bundle, tmp_path: Path) -> None:
        """A URI with a digest gives that bundle or none."""
        there = tmp_path / "models" / prefix_of(bundle)
        write(there, "b")

        with pytest.raises(BundleError, match="not the one that it is named after"):
            pull(uri, tmp_path / "pulled")
