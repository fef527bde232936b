"""Draining after SIGTERM: no client whose request is being answered notices that the server ends."""

import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import requests
from services.processes import ROOT, answers, free_port, running, stop, wait_until

Start = Callable[[float], "tuple[str, subprocess.Popen[bytes]]"]
BODY = b"x" * 1000


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """`start(seconds)`: a server that drains so long, as a process, and its predict URL."""
    with ExitStack() as stack:

        def start_with(drain_s: float) -> "tuple[str, subprocess.Popen[bytes]]":
            port = free_port()
            program = str(ROOT / "tests" / "services" / "echo.py")
            arguments = ["--model_name=echo", f"--http_port={port}", f"--drain_seconds={drain_s}"]
            process = stack.enter_context(running([sys.executable, program, *arguments], tmp_path / "log"))
            url = f"http://127.0.0.1:{port}/v1/models/echo"
            wait_until(lambda: process.poll() is not None or answers(url), "the server")
            assert process.poll() is None, (tmp_path / "log").read_text()
            return f"{url}:predict", process

        yield start_with


def test_clients_on_kept_connections_are_told_to_close_before_the_server_does(start: Start) -> None:
    """Each client asks over one connection until an answer ends it: no request is lost to a closed one."""
    url, process = start(1.0)
    asked = threading.Semaphore(0)
    last: list[requests.Response] = []
    failed: list[object] = []

    def client() -> None:
        with requests.Session() as session:
            while True:
                try:
                    reply = session.post(url, data=BODY, timeout=30)
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
    newcomer = requests.post(url, data=BODY, timeout=30)
    for thread in threads:
        thread.join(60)

    assert failed == []
    assert [reply.status_code for reply in last] == [200] * 4
    assert (newcomer.status_code, newcomer.headers["connection"]) == (200, "close")
    assert process.wait(60) in {0, -signal.SIGTERM}


def test_connections_are_kept_until_then(start: Start) -> None:
    url, _ = start(3.0)

    assert "connection" not in requests.post(url, data=BODY, timeout=30).headers


def test_a_second_sigterm_ends_the_server_at_once(start: Start) -> None:
    url, process = start(600.0)
    process.send_signal(signal.SIGTERM)
    models = url.removesuffix(":predict")
    wait_until(lambda: requests.get(models, timeout=30).headers.get("connection") == "close", "draining")

    assert stop(process) in {0, -signal.SIGTERM}
