"""The real TorchServe with what is exported for it: started, asked with photographs, compared with the whole model."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import requests
from services.handed_over import whole_reply
from services.processes import ROOT, free_port, listens, running, wait_until

from shardline.formats.torchserve_export import CONFIG_FILE, ServeOptions, export_torchserve

BIN = ROOT / ".venv-peers" / "bin"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (BIN / "torchserve").is_file() or shutil.which("java") is None,
        reason="TorchServe is not here: install Java 17, then make peers",
    ),
]


@pytest.fixture(scope="module")
def served(resnet_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """TorchServe on loopback with all archives of the bundle; the URL of its predictions."""
    folder = tmp_path_factory.mktemp("torchserve")
    out = folder / "out"
    port = _three_ports()
    names = export_torchserve(resnet_bundle, out, ServeOptions(port=port))
    workers = free_port()  # names the workers' sockets, which two instances must not share
    with (out / CONFIG_FILE).open("a") as config:
        config.write(f"initial_worker_port={workers}\n")
        config.writelines(f"grpc_{what}_port={free_port()}\n" for what in ("inference", "management"))
    env = os.environ | {
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",  # it starts its workers with the `python` on PATH
        "TMPDIR": str(folder),  # where it keeps its pid: another instance would be taken for this one
        "TEMP": str(folder),
        "LOG_LOCATION": str(folder / "logs"),
        "METRICS_LOCATION": str(folder / "logs"),
        "OMP_NUM_THREADS": "1",  # as the tests themselves, which compare to the bit
    }
    start = f"cd '{out}' && exec torchserve --start --foreground --ncs --disable-token-auth --ts-config {CONFIG_FILE}"
    log = folder / "torchserve.log"
    with running(["sh", "-c", start], log, env) as process:
        try:
            wait_until(lambda: process.poll() is not None or _ready(port + 1, names), "TorchServe ready", 240)
            assert process.poll() is None, log.read_text()[-3000:]
            yield f"http://127.0.0.1:{port}/predictions"
        finally:
            subprocess.run([BIN / "torchserve", "--stop"], env=env, capture_output=True, check=False, timeout=60)


def _three_ports() -> int:
    """A port with the two above it free, too; below those that the system gives out by itself."""
    return next(port for port in range(18080, 32000, 3) if not any(listens(port + offset) for offset in range(3)))


def _ready(port: int, names: list[str]) -> bool:
    with suppress(requests.RequestException, ValueError, LookupError):
        return all(
            worker["status"] == "READY"
            for name in names
            for worker in requests.get(f"http://127.0.0.1:{port}/models/{name}", timeout=5).json()[0]["workers"]
        )
    return False


def ask(url: str, body: bytes) -> requests.Response:
    return requests.post(url, data=body, headers={"content-type": "application/octet-stream"}, timeout=60)


def test_the_whole_answers_a_photograph_as_the_bundle_does(
    served: str, resnet_bundle: Path, photographs: list[bytes]
) -> None:
    for picture in photographs[:3]:
        assert ask(f"{served}/resnet", picture).json() == whole_reply(resnet_bundle, [picture])


def test_the_shards_in_turn_answer_as_the_bundle_does(
    served: str, resnet_bundle: Path, photographs: list[bytes]
) -> None:
    for picture in photographs[:3]:
        body = picture
        for stage in range(3):
            reply = ask(f"{served}/resnet-{stage}", body)
            assert reply.status_code == 200, reply.text
            body = reply.content

        assert reply.json() == whole_reply(resnet_bundle, [picture])


def test_a_fault_keeps_its_status_and_cause(served: str, photographs: list[bytes]) -> None:
    no_picture = ask(f"{served}/resnet", b"nothing")
    picture_for_a_later_shard = ask(f"{served}/resnet-2", photographs[0])

    assert no_picture.status_code == 400
    assert "neither JSON" in no_picture.json()["error"]
    assert picture_for_a_later_shard.status_code == 400
    assert "takes frames" in picture_for_a_later_shard.json()["error"]
