"""A chain whose shards come from gs://, fetched by KServe's downloader as in a pod; an altered object stops it."""

import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import pytest
from e2e.conftest import shardline, up
from services.processes import ROOT, free_port
from services.stores import put_bytes

from shardline.storage.open import open_store

pytestmark = pytest.mark.slow


@pytest.fixture
def pushed(small_bundle: Path, emulator: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", emulator)
    return shardline("push", str(small_bundle), f"gs://models/{uuid4().hex}").stdout.strip()


def test_answers(small_bundle: Path, pushed: str, photographs: list[bytes], tmp_path: Path) -> None:
    with up(small_bundle, tmp_path, render=("--storage", pushed)) as chain:
        reply = chain.post(photographs[0])

        assert reply.status_code == 200, reply.text
        assert len(reply.json()["predictions"]) == 1
    assert f"fetching {pushed}/stages/2" in chain.log.read_text()


@pytest.mark.parametrize("is_there", [True, False], ids=["flipped byte", "missing object"])
def test_does_not_serve_an_altered_shard(small_bundle: Path, pushed: str, tmp_path: Path, is_there: bool) -> None:
    """KServe's downloader is content; the server says which file it is and does not open its port."""
    store, name = open_store(pushed), "stages/1/shard.pt2"
    data = bytearray(store.read(name))
    data[len(data) // 2] ^= 1
    put_bytes(store, name, bytes(data)) if is_there else store.delete(name)
    shardline("render", str(small_bundle), "--storage", pushed, "--out", str(tmp_path / "out"))

    command = [sys.executable, "-m", "shardline", "up", str(tmp_path / "out"), "--port", str(free_port())]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)

    assert ended.returncode == 1
    assert "stages/1/shard.pt2 has sha256" in ended.stderr or "stages/1/shard.pt2 is missing" in ended.stderr
    assert "Traceback" not in ended.stderr
