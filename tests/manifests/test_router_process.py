"""What is the router's own, not KServe's: what it refuses at its start, and how long it drains."""

import json
import re
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path
from typing import Any

import pytest

DEADLINE_S = 15


def run_ours(spec: object, *arguments: str) -> subprocess.CompletedProcess[str]:
    text = spec if isinstance(spec, str) else json.dumps(spec)
    return subprocess.run(
        [sys.executable, "-m", "manifests.router", "--graph-json", text, *arguments],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
        timeout=DEADLINE_S,
        check=False,
    )


def ask(port: int, body: bytes) -> bytes:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", data=body, timeout=DEADLINE_S) as response:
        return bytes(response.read())


def sequence(*steps: dict[str, Any], kind: str = "Sequence") -> dict[str, Any]:
    return {"nodes": {"root": {"routerType": kind, "steps": list(steps)}}}


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("{", "--graph-json is no JSON"),
        ("[]", "--graph-json is no JSON object"),
        ({"nodes": {}}, "incomplete or of a wrong shape"),
        (sequence({"serviceUrl": "http://x"}, kind="Switch"), "root is a Switch, this router runs a Sequence"),
        (sequence({"nodeName": "other"}), "step 0 has a nodeName, which this router does not run"),
        (sequence({"serviceUrl": "http://x", "condition": "a"}), "step 0 has a condition"),
        (sequence({"serviceName": "s"}), "step 0 has no serviceUrl"),
        (sequence(), "has no steps"),
    ],
)
def test_what_it_does_not_run_is_refused_at_the_start_in_one_line(spec: object, message: str) -> None:
    ended = run_ours(spec)

    assert ended.returncode == 1
    assert re.search(message, ended.stderr)
    assert ended.stderr.count("\n") == 1


def test_a_taken_port_is_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = run_ours(sequence({"serviceUrl": "http://x"}), "--port", str(port))

    assert ended.returncode == 1
    assert ended.stderr == f"port {port} cannot be opened (Address already in use): choose another --port\n"


def test_after_the_drain_running_requests_are_finished(
    steps: Any, wait_until: Any, free_port: Any, listens: Any
) -> None:
    going = threading.Event()
    only = steps.replies(lambda r: (going.wait(DEADLINE_S), (200, {}, r.body))[1])
    port = free_port()
    command = [sys.executable, "-m", "manifests.router", "--port", str(port), "--drain-seconds", "0"]
    with subprocess.Popen([*command, "--graph-json", json.dumps(sequence({"serviceUrl": only.url}))]) as process:
        try:
            wait_until(lambda: listens(port))
            answers: list[bytes] = []
            asking = threading.Thread(target=lambda: answers.append(ask(port, b"last")))
            asking.start()
            wait_until(lambda: bool(only.requests))
            process.send_signal(signal.SIGTERM)
            wait_until(lambda: not listens(port))
            going.set()
            asking.join()

            assert process.wait(DEADLINE_S) == 0
        finally:
            process.kill()
    assert answers == [b"last"]
