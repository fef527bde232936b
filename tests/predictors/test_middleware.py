"""A server that is told to go: nobody who is being answered notices."""

import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
import requests
from services.processes import free_port, server, stop, wait_until

from shardline.storage.bundle import Bundle
from shardline.storage.bundle_folder import open_bundle
from shardline.wire.frame import Frame, encode

pytestmark = pytest.mark.slow

Start = Callable[[float], "tuple[str, subprocess.Popen[bytes]]"]


@pytest.fixture(scope="module")
def bundle(small_bundle: Path) -> Bundle:
    return open_bundle(small_bundle)


@pytest.fixture
def start(small_bundle: Path, tmp_path: Path) -> Iterator[Start]:
    """`start(seconds)`: stage 0 as a process that drains so long, and the URL to ask it."""
    with ExitStack() as stack:

        def start_with(drain_s: float) -> "tuple[str, subprocess.Popen[bytes]]":
            port = free_port()
            arguments = (f"--model_dir={small_bundle}/stages/0", f"--drain_seconds={drain_s}")
            process = stack.enter_context(
                server("shardline.predictors.shard", *arguments, log=tmp_path / "log", name="small-0", port=port)
            )
            return f"http://127.0.0.1:{port}/v1/models/small-0:predict", process

        yield start_with


@pytest.fixture
def frame(bundle: Bundle) -> bytes:
    spec = bundle.stages[0].inputs[0]
    return encode(Frame(tensors={spec.name: np.zeros(spec.shape_for(1), np.uint8)}, bundle=bundle.digest, stage=0))


def test_clients_on_kept_connections_are_told_to_close_before_the_server_does(start: Start, frame: bytes) -> None:
    """Each client asks over one connection until an answer ends it: no request is lost to a closed one."""
    url, process = start(3.0)
    asked = threading.Semaphore(0)
    last: list[requests.Response] = []
    failed: list[object] = []

    def client() -> None:
        with requests.Session() as session:
            while True:
                try:
                    reply = session.post(url, data=frame, timeout=30)
                except requests.RequestException as exc:
                    failed.append(exc)
                    return
                asked.release()
                if reply.headers.get("connection") == "close":
                    last.append(reply)
                    return

    threads = [threading.Thread(target=client) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(20):
        assert asked.acquire(timeout=60)
    process.send_signal(signal.SIGTERM)
    wait_until(lambda: len(last) + len(failed) > 0, "the first client is told to close")
    newcomer = requests.post(url, data=frame, timeout=30)
    for thread in threads:
        thread.join(60)

    assert failed == []
    assert [reply.status_code for reply in last] == [200] * 4
    assert (newcomer.status_code, newcomer.headers["connection"]) == (200, "close")
    assert process.wait(60) in {0, -signal.SIGTERM}


def test_connections_are_kept_until_then(start: Start, frame: bytes) -> None:
    url, _ = start(3.0)

    assert "connection" not in requests.post(url, data=frame, timeout=30).headers


def test_a_second_sigterm_hurries(start: Start) -> None:
    url, process = start(600.0)
    process.send_signal(signal.SIGTERM)
    models = url.removesuffix(":predict")
    wait_until(lambda: requests.get(models, timeout=30).headers.get("connection") == "close", "draining")

    assert stop(process) in {0, -signal.SIGTERM}
