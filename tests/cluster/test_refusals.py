"""A pod that finds its shard spoilt does not get ready, and `shardline status` says which file of which stage."""

import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from cluster.conftest import NAME, Place, Version, stage_name
from services.processes import ROOT, wait_until
from services.stores import put_bytes

from shardline.storage.bundle import Bundle
from shardline.storage.bundle_folder import open_bundle, writing_bundle
from shardline.storage.open import open_store
from shardline.storage.push import prefix_of
from shardline.storage.store import Store

pytestmark = pytest.mark.slow


def flip_a_byte(store: Store, name: str) -> None:
    data = bytearray(store.read(name))
    data[len(data) // 2] ^= 1
    put_bytes(store, name, bytes(data))


def delete(store: Store, name: str) -> None:
    store.delete(name)


@pytest.mark.usefixtures("deployed")
@pytest.mark.parametrize(
    ("spoil", "said"),
    [(flip_a_byte, "stages/1/shard.pt2 has sha256"), (delete, "stages/1/shard.pt2 is missing")],
    ids=["one flipped byte", "a missing file"],
)
def test_a_shard_that_was_spoilt_in_the_bucket(
    place: Place, first: Version, spoil: Callable[[Store, str], None], said: str
) -> None:
    store = open_store(place.bucket)
    name = f"{prefix_of(first.bundle)}/stages/1/shard.pt2"
    good = store.read(name)
    spoil(store, name)
    try:
        [pod] = place.stage_pods(first, 1)
        place.cluster.delete("Pod", place.namespace, pod["metadata"]["name"])
        wait_until(lambda: said in _status(place), f"status says {said}", deadline_s=180)
        text = _status(place)
    finally:
        put_bytes(store, name, good)

    assert f"stage 1 {stage_name(first, 1)}: predictor 0/1" in text
    [pod] = place.stage_pods(first, 1)
    place.cluster.delete("Pod", place.namespace, pod["metadata"]["name"])
    wait_until(lambda: ": ready" in _status(place).splitlines()[0], "ready again", deadline_s=180)


@pytest.mark.usefixtures("deployed")
def test_a_pickle_inside_a_sealed_bundle(place: Place, first: Version, tmp_path: Path) -> None:
    """Its digests are right, since whoever built it sealed it so: the archive itself is refused."""
    spoilt = tmp_path / "spoilt"
    _seal_with_pickle(first, spoilt)

    result = place.deploy(spoilt, "--wait", "60", code=1)

    assert "stage 1" in result.stderr
    assert "shard.pt2 holds 'shard/data/weights/evil.pkl'" in result.stderr
    assert "shardline rollback" in result.stderr
    text = _status(place)
    assert f"{NAME} in namespace {place.namespace}: ready" in text  # the version before goes on
    assert "evil.pkl" in text
    place.shardline("rollback", NAME, "--wait", "300")
    assert "evil.pkl" not in _status(place)


def _status(place: Place) -> str:
    """Ready or not: the exit code says which, and may be another in a moment."""
    command = [sys.executable, "-m", "shardline", "status", NAME, "--namespace", place.namespace]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False).stdout


def _seal_with_pickle(version: Version, folder: Path) -> Bundle:
    with writing_bundle(folder) as (draft, seal):
        shutil.copytree(version.folder, draft, dirs_exist_ok=True)
        for copied in draft.rglob("bundle.json"):
            copied.unlink()
        for copied in draft.rglob("stage.json"):
            copied.unlink()
        with zipfile.ZipFile(draft / "stages/1/shard.pt2", "a") as archive:
            archive.writestr("shard/data/weights/evil.pkl", b"\x80\x04N.")
        seal(version.bundle)
    return open_bundle(folder)
