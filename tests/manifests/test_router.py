"""The built-in router where it differs from KServe's: what it refuses at its start, and how long it drains."""

import json
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from services.routers import DRAIN_S, sequence

from shardline.manifests.router import make_parser

DEADLINE_S = 15


def run_ours(spec: object, *arguments: str) -> subprocess.CompletedProcess[str]:
    text = spec if isinstance(spec, str) else json.dumps(spec)
    return subprocess.run(
        [sys.executable, "-m", "shardline.manifests.router", "--graph-json", text, *arguments],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
        timeout=DEADLINE_S,
        check=False,
    )


def ask(port: int, body: bytes) -> bytes:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", data=body, timeout=DEADLINE_S) as response:
        return bytes(response.read())


def nodes(**of: dict[str, Any]) -> dict[str, Any]:
    return {"nodes": of}


X = {"serviceUrl": "http://x"}


def test_what_is_no_graph_ends_the_router_at_its_start() -> None:
    ended = run_ours("{")

    assert ended.returncode == 1
    assert ended.stderr.startswith("--graph-json is not JSON")
    assert ended.stderr.count("\n") == 1


def test_a_taken_port_is_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = run_ours(nodes(root=sequence(X)), "--port", str(port))

    assert ended.returncode == 1
    assert ended.stderr == f"port {port} cannot be opened (Address already in use): choose another --port\n"


def test_after_the_drain_running_requests_are_finished(
    steps: Any, wait_until: Any, free_port: Any, listens: Any
) -> None:
    going = threading.Event()
    only = steps.replies(lambda r: (going.wait(DEADLINE_S), (200, {}, r.body))[1])
    port = free_port()
    command = [sys.executable, "-m", "shardline.manifests.router", "--port", str(port), "--drain-seconds", "0"]
    with subprocess.Popen([*command, "--graph-json", json.dumps(nodes(root=sequence(only)))]) as process:
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


def test_it_drains_as_long_as_kserves_by_default() -> None:
    assert make_parser().get_default("drain_seconds") == DRAIN_S


def test_bodies_that_never_end_give_way_to_others(steps: Any, free_port: Any, listens: Any, wait_until: Any) -> None:
    """Twenty clients hold all but the last byte of 16 MB each: more than the router keeps."""
    size = 16 * 2**20
    port = free_port()
    command = [sys.executable, "-m", "shardline.manifests.router", "--port", str(port), "--drain-seconds", "0"]
    with subprocess.Popen([*command, "--graph-json", json.dumps(nodes(root=sequence(steps.echo())))]) as process:
        try:
            wait_until(lambda: listens(port))
            head = f"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n\r\n".encode()
            with ExitStack() as stack:
                silent = [stack.enter_context(socket.create_connection(("127.0.0.1", port))) for _ in range(20)]
                for client in silent:
                    client.sendall(head + bytes(size - 1))

                assert ask(port, b"[1]") == b"[1]"
                silent[0].settimeout(DEADLINE_S)
                assert silent[0].recv(4096).startswith(b"HTTP/1.1 503")
                silent[-1].sendall(b"x")
                silent[-1].settimeout(DEADLINE_S)
                assert silent[-1].recv(4096).startswith(b"HTTP/1.1 200")
        finally:
            process.kill()
