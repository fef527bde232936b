"""A small bundle on disk, with files in place of programs, a folder to fetch from, and a bucket to push to."""

from collections.abc import Callable
from pathlib import Path
from threading import Lock
from uuid import uuid4

import pytest

from shardline.storage.bundle import (
    GOLDEN_FILE,
    SHARD_FILE,
    WHOLE_FILE,
    Bundle,
    PictureSpec,
    Stage,
    Task,
    TensorSpec,
    stage_folder,
)
from shardline.storage.bundle_folder import writing_bundle
from shardline.wire.limits import Limits

PIXELS = TensorSpec(name="pixels", dtype="U8", shape=("batch", 3, 8, 8), dim_order=(0, 1, 2, 3))
FEATURES = TensorSpec(name="relu", dtype="F32", shape=("4*batch", 8, 2), dim_order=(0, 2, 1))
LOGITS = TensorSpec(name="logits", dtype="F32", shape=("batch", 3), dim_order=(0, 1))


@pytest.fixture
def small() -> Bundle:
    """Two stages, not sealed: its files are not listed yet."""
    first = Stage(
        index=0, cut="layer1", inputs=(PIXELS,), outputs=(FEATURES,), model_ms=1.5, weight_bytes=40, output_bytes=256
    )
    last = Stage(index=1, cut=None, inputs=(FEATURES,), outputs=(LOGITS,), model_ms=2, weight_bytes=80, output_bytes=12)
    return Bundle(
        name="small",
        model="torchvision:small",
        weights="random:0",
        precision="fp32",
        torch_version="2.14.1",
        task=Task(name="classify", labels=("chat", "chien", "œuf")),
        picture=PictureSpec(height=8, width=8, resize=9),
        limits=Limits(),
        batch=4,
        max_instances=4,
        threads=1,
        stages=(first, last),
    )


@pytest.fixture
def write(small: Bundle) -> Callable[..., Bundle]:
    """write(folder, fill="a") -> the bundle that is there now; `fill` makes its shards differ from another's."""

    def write_to(folder: Path, fill: str = "a") -> Bundle:
        with writing_bundle(folder) as (draft, seal):
            (draft / WHOLE_FILE).write_text(fill * 9)
            for stage in small.stages:
                where = draft / stage_folder(stage.index)
                where.mkdir(parents=True)
                (where / SHARD_FILE).write_text(fill * (stage.index + 1))
                (where / GOLDEN_FILE).write_text("golden")
            return seal(small)

    return write_to


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A folder whose name has what URIs must encode."""
    folder = tmp_path / "my models#1 ü"
    (folder / "stages/0").mkdir(parents=True)
    (folder / "stages/0/shard.pt2").write_bytes(b"shard")
    return folder


@pytest.fixture
def bucket(emulator: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A URI of one's own in the emulator's bucket."""
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", emulator)
    return f"gs://models/{uuid4().hex}"


class Counted:
    """A shardline.storage.store.Progress."""

    def __init__(self) -> None:
        self.total_bytes = self.skipped_bytes = self.moved_bytes = 0
        self._lock = Lock()

    def begin(self, total_bytes: int) -> None:
        self.total_bytes = total_bytes

    def skipped(self, size_bytes: int) -> None:
        with self._lock:
            self.skipped_bytes += size_bytes

    def moved(self, size_bytes: int) -> None:
        with self._lock:
            self.moved_bytes += size_bytes


@pytest.fixture
def counted() -> Counted:
    return Counted()
