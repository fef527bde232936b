"""A push that is killed with SIGKILL in the middle, and repeated: nobody sees half, and only missing files are sent."""

import signal
from pathlib import Path

import numpy as np
import pytest
from services.bucket import Wire, shardline
from services.processes import wait_until

from shardline.storage.bundle import SHARD_FILE, WHOLE_FILE, Bundle, stage_folder
from shardline.storage.bundle_folder import writing_bundle
from shardline.storage.gcs import CHUNK_BYTES
from shardline.storage.inventory import inventory
from shardline.storage.open import open_store
from shardline.storage.push import destination, pull
from shardline.wire.errors import StorageError

SMALL_FILE = f"{stage_folder(0)}/{SHARD_FILE}"  # sent in one request, before the others have sent their first chunks
SIZES = {
    WHOLE_FILE: 2 * CHUNK_BYTES + 1000,
    SMALL_FILE: 1000,
    f"{stage_folder(1)}/{SHARD_FILE}": CHUNK_BYTES + 1000,
}


@pytest.fixture
def big(small: Bundle, tmp_path: Path) -> Bundle:
    with writing_bundle(tmp_path / "bundle") as (draft, seal):
        for name, size_bytes in SIZES.items():
            (draft / name).parent.mkdir(parents=True, exist_ok=True)
            (draft / name).write_bytes(np.random.default_rng(size_bytes).bytes(size_bytes))
        return seal(small)


@pytest.mark.slow
@pytest.mark.parametrize("killed_at_bytes", [CHUNK_BYTES, sum(SIZES.values()) - CHUNK_BYTES // 2])
def test_killed_and_repeated(
    big: Bundle, bucket: str, emulator: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed_at_bytes: int
) -> None:
    uri = destination(big, bucket)
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", emulator)

    def check_nothing_is_seen() -> None:
        assert not any(found.is_whole for found in inventory(open_store(bucket)))
        with pytest.raises(StorageError, match="holds"):
            pull(uri, tmp_path / "half")

    with Wire(emulator, hold_after=killed_at_bytes) as wire:
        env = {"STORAGE_EMULATOR_HOST": wire.url}
        first = shardline("push", str(tmp_path / "bundle"), bucket, env=env)
        wait_until(lambda: wire.is_held, "the first push is in the middle")
        first.send_signal(signal.SIGKILL)
        first.communicate()
        assert first.returncode == -signal.SIGKILL
        wire.release()
        wait_until(wire.is_idle, "all bytes under way have arrived")
        check_nothing_is_seen()
        sent = {entry.name: entry.size_bytes for entry in open_store(uri).entries()}

        wire.mend()
        second = shardline("push", str(tmp_path / "bundle"), bucket, env=env)
        out, err = second.communicate(timeout=120)
        assert second.returncode == 0, err
        again_bytes = wire.sent_bytes

    missing_bytes = sum(size_bytes for name, size_bytes in SIZES.items() if name not in sent)
    assert out.strip() == uri
    assert sent.items() >= {SMALL_FILE: SIZES[SMALL_FILE]}.items()
    assert missing_bytes <= again_bytes <= missing_bytes + 100_000  # the copies of bundle.json and headers are small
    assert pull(uri, tmp_path / "pulled") == big
    assert [found.is_whole for found in inventory(open_store(bucket))] == [True]
