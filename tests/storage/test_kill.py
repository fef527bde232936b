"""A push of 200 MB that is killed with SIGKILL in the middle, and repeated: nobody sees half, only the rest is sent."""

import signal
from pathlib import Path

import numpy as np
import pytest
from services.bucket import Wire, shardline
from services.processes import wait_until

from shardline.storage.bundle import SHARD_FILE, WHOLE_FILE, Bundle, stage_folder
from shardline.storage.bundle_folder import writing_bundle
from shardline.storage.inventory import inventory
from shardline.storage.push import destination, pull
from shardline.storage.resumable import CHUNK_BYTES
from shardline.storage.store import open_store
from shardline.wire.errors import StorageError

SIZES = {
    WHOLE_FILE: 110_000_000,
    f"{stage_folder(0)}/{SHARD_FILE}": 20_000_000,
    f"{stage_folder(1)}/{SHARD_FILE}": 70_000_000,
}


@pytest.fixture
def big(small: Bundle, tmp_path: Path) -> Bundle:
    with writing_bundle(tmp_path / "bundle") as (draft, seal):
        for name, size_bytes in SIZES.items():
            (draft / name).parent.mkdir(parents=True, exist_ok=True)
            (draft / name).write_bytes(np.random.default_rng(size_bytes).bytes(size_bytes))
        return seal(small)


@pytest.mark.slow
@pytest.mark.parametrize("killed_at_bytes", [30_000_000, 130_000_000])
def test_killed_and_repeated(
    big: Bundle, bucket: str, emulator: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed_at_bytes: int
) -> None:
    uri = destination(big, bucket)

    def check_nothing_is_seen() -> None:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", emulator)
        assert not any(found.is_whole for found in inventory(open_store(bucket)))
        with pytest.raises(StorageError, match="holds"):
            pull(uri, tmp_path / "half")

    def is_sent() -> bool:
        check_nothing_is_seen()
        return wire.sent_bytes > killed_at_bytes

    with Wire(emulator) as wire:
        env = {"STORAGE_EMULATOR_HOST": wire.url, "XDG_STATE_HOME": str(tmp_path / "state")}
        first = shardline("push", str(tmp_path / "bundle"), bucket, env=env)
        wait_until(is_sent, "the first push is in the middle")
        first.send_signal(signal.SIGKILL)
        first.communicate()
        assert first.returncode == -signal.SIGKILL
        wait_until(wire.is_idle, "what was under way has come through")
        sent_bytes = wire.sent_bytes
        check_nothing_is_seen()

        wire.mend()
        second = shardline("push", str(tmp_path / "bundle"), bucket, env=env)
        out, err = second.communicate(timeout=120)
        assert second.returncode == 0, err
        again_bytes = wire.sent_bytes

    total_bytes = sum(SIZES.values())
    assert out.strip() == uri
    # at most one chunk of each large file was under way, and the copies of bundle.json and headers are small
    assert total_bytes - sent_bytes <= again_bytes <= total_bytes - sent_bytes + len(SIZES) * CHUNK_BYTES + 1_000_000
    assert pull(uri, tmp_path / "pulled") == big
    assert [found.is_whole for found in inventory(open_store(bucket))] == [True]
