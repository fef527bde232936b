"""push, pull, gs and emulator as they are typed, on a bucket of a real emulator's process."""

import signal
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import pytest
from services.bucket import emulating
from services.cli import run_command as shardline
from services.processes import ROOT, stop
from services.scripted import KubernetesApi

from shardline.storage.bundle_folder import open_bundle
from shardline.storage.open import open_store
from shardline.wire.errors import StorageError

pytestmark = pytest.mark.slow


@pytest.fixture
def uri(emulator: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", emulator)
    return f"gs://models/{uuid4().hex}"


def test_push_list_render_pull(small_bundle: Path, uri: str, tmp_path: Path) -> None:
    first = shardline("push", str(small_bundle), uri)
    second = shardline("push", str(small_bundle), uri)
    listed = shardline("gs", "list", uri)
    rendered = shardline("render", str(small_bundle), "--storage", first.stdout.strip(), "--out", str(tmp_path))
    pulled = shardline("pull", first.stdout.strip(), str(tmp_path / "pulled"))

    pushed = first.stdout.strip()
    digest = open_bundle(small_bundle).digest
    assert pushed == f"{uri}/small/{digest.removeprefix('sha256:')}"
    assert second.stdout == first.stdout
    assert "sent 0.0 MiB" in second.stderr
    assert [line.split()[-2:] for line in listed.stdout.splitlines()[1:]] == [["whole", pushed]]
    assert f"storageUri: {pushed}/stages/2" in Path(rendered.stdout.strip()).read_text()
    assert digest in pulled.stdout
    assert open_bundle(tmp_path / "pulled").digest == digest


def test_gc(small_bundle: Path, other_bundle: Path, single_bundle: Path, uri: str, tmp_path: Path) -> None:
    """Named: stays. Not named: goes. Half of one that is not named: goes. Nothing goes without --delete."""
    named, unnamed, half = (
        shardline("push", str(bundle), uri).stdout.strip() for bundle in (small_bundle, other_bundle, single_bundle)
    )
    open_store(half).delete("bundle.json")
    shardline("render", str(small_bundle), "--storage", named, "--out", str(tmp_path / "out"))
    manifests = ("--manifests", str(tmp_path / "out"))

    young = shardline("gs", "gc", uri, *manifests, "--delete")
    shown = shardline("gs", "gc", uri, *manifests, "--older-than", "0")
    assert len(shardline("gs", "list", uri).stdout.splitlines()) == 4
    shardline("gs", "gc", uri, *manifests, "--older-than", "0", "--delete")

    assert "0 bundles" in young.stderr
    assert {line.split()[-1] for line in shown.stdout.splitlines()[1:]} == {unnamed, half}
    assert "--delete deletes them" in shown.stderr
    assert [line.split()[-1] for line in shardline("gs", "list", uri).stdout.splitlines()[1:]] == [named]
    shardline("pull", named, str(tmp_path / "pulled"))
    assert "holds no files" in shardline("pull", unnamed, str(tmp_path / "gone"), code=1).stderr


def test_gc_keeps_what_a_rollback_needs(
    small_bundle: Path,
    other_bundle: Path,
    single_bundle: Path,
    uri: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    named, past, unnamed = (
        shardline("push", str(bundle), uri).stdout.strip() for bundle in (small_bundle, other_bundle, single_bundle)
    )
    (tmp_path / "net.yaml").write_text(named)
    gc = ("gs", "gc", uri, "--manifests", str(tmp_path / "net.yaml"), "--older-than", "0", "--delete")
    record = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "small.shardline.v1", "namespace": "elsewhere", "labels": {"shardline/release": "small"}},
        "data": {"bundle": "sha256:" + past.rpartition("/")[2], "documents.json": "altered"},
    }
    api = KubernetesApi(tmp_path, {})
    try:
        api.put([record])
        monkeypatch.setenv("KUBECONFIG", str(api.kubeconfig))
        shardline(*gc)
        left = {line.split()[-1] for line in shardline("gs", "list", uri).stdout.splitlines()[1:]}
        assert left == {named, past}
        assert unnamed not in left
    finally:
        api.stop()

    refused = shardline(*gc, code=1)
    assert "--no-cluster leaves them out" in refused.stderr
    shardline(*gc, "--no-cluster")
    assert [line.split()[-1] for line in shardline("gs", "list", uri).stdout.splitlines()[1:]] == [named]


def test_a_disk_that_is_full_is_named(small_bundle: Path, uri: str, tmp_path: Path) -> None:
    pushed = shardline("push", str(small_bundle), uri).stdout.strip()
    (tmp_path / ".shard.pt2.partial").symlink_to("/dev/full")

    with pytest.raises(StorageError, match=r"stages/0/shard\.pt2: it cannot be saved \(No space left on device\)"):
        open_store(pushed).save("stages/0/shard.pt2", tmp_path / "shard.pt2")


def test_gc_all_but_newest(small_bundle: Path, other_bundle: Path, uri: str) -> None:
    for bundle in (small_bundle, other_bundle):
        newest = shardline("push", str(bundle), uri).stdout.strip()
    shardline("gs", "gc", uri, "--all-but-newest", "1", "--older-than", "0", "--delete")

    names = {open_bundle(bundle).name for bundle in (small_bundle, other_bundle)}
    listed = [line.split()[-1] for line in shardline("gs", "list", uri).stdout.splitlines()[1:]]
    assert newest in listed
    assert len(listed) == len(names)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("gs", "gc", "URI", "--delete"), "--delete would delete every bundle"),
        (("gs", "gc", "URI", "--delete", "--manifests", "Makefile"), "Makefile names no bundle's digest"),
        (("gs", "gc", "URI", "--delete", "--manifests", "none"), "none cannot be read"),
        (("gs", "list", "gs://none/a"), "there is no such bucket"),
        (("gs", "list", "ftp://a"), "is no storage URI"),
        (("pull", "URI/resnet50", "there"), "holds no files"),
        (("push", "tests", "URI"), "is it a bundle?"),
    ],
)
def test_one_line_for_every_mistake(uri: str, arguments: tuple[str, ...], message: str) -> None:
    failed = shardline(*(argument.replace("URI", uri) for argument in arguments), code=1)

    assert failed.stderr.splitlines()[-1].startswith("error: ")
    assert message in failed.stderr.splitlines()[-1]
    assert failed.stdout == ""


class TestEmulator:
    def test_keeps_its_objects_and_serves_them_at_another_port(
        self, small_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Objects do not remember the port at which they were written: pods ask elsewhere than who pushed."""
        with emulating(tmp_path / "bucket", "models") as url:
            monkeypatch.setenv("STORAGE_EMULATOR_HOST", url)
            pushed = shardline("push", str(small_bundle), "gs://models").stdout.strip()
        with emulating(tmp_path / "bucket") as url:
            monkeypatch.setenv("STORAGE_EMULATOR_HOST", url)
            shardline("pull", pushed, str(tmp_path / "pulled"))

        assert open_bundle(tmp_path / "pulled").digest == open_bundle(small_bundle).digest

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_stops_when_told(self, tmp_path: Path, number: signal.Signals) -> None:
        command = [sys.executable, "-m", "shardline", "emulator", "--folder", str(tmp_path), "--port", "0"]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            assert process.stdout.readline().startswith("http://127.0.0.1:")
            assert stop(process, number) == 0
            assert "Traceback" not in process.stderr.read()


def test_what_needs_no_bucket_loads_no_google() -> None:
    """Pods' processes neither have nor load it, and `--help` is quick."""
    program = (
        "import sys; import shardline.__main__, shardline.storage.push, shardline.storage.initializer, "
        "shardline.storage.inventory, "
        "shardline.predictors.transformer; print([n for n in sys.modules if n.startswith(('google.cloud', "
        "'google.resumable_media', 'kserve_storage', 'gcp_storage'))])"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.stdout.strip() == "[]", done.stderr
