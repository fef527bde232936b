"""Processes that are started, probed, restarted and stopped; tests/manifests/test_local.py has whole chains of them."""

import asyncio
import os
import socket
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from shardline.manifests.processes import Console, Launch, Supervisor, answers
from shardline.wire.errors import ManifestError

SERVER = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/ready" else 404)
        self.end_headers()
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


def launch(folder: Path, port: int, program: str, **changes: Any) -> Launch:
    argv = (sys.executable, "-c", program, str(port))
    return Launch(name="one", argv=argv, env=dict(os.environ), folder=folder, port=port, **changes)


async def run_until_ready(launch: Launch, deadline_s: float = 15) -> Supervisor:
    """Run the process until it was ready once, then stop it."""
    changed, hurry = asyncio.Event(), asyncio.Event()
    process = Supervisor(launch, Console(), grace_s=5, hurry=hurry, on_change=changed.set)
    running = asyncio.create_task(process.keep_running())
    ready = asyncio.create_task(changed.wait())
    try:
        done, _ = await asyncio.wait({running, ready}, timeout=deadline_s, return_when=asyncio.FIRST_COMPLETED)
        assert done, "neither ready nor ended"
        for task in done:
            task.result()
    finally:
        for task in (running, ready):
            task.cancel()
        await asyncio.gather(running, ready, return_exceptions=True)
    return process


def test_a_process_is_ready_when_its_probe_succeeds(tmp_path: Path, free_port: Any, listens: Any) -> None:
    port = free_port()

    process = asyncio.run(run_until_ready(launch(tmp_path, port, SERVER, ready_path="/ready")))

    assert process.was_ready
    assert not process.ready
    assert not listens(port)


def test_one_that_exits_before_it_is_ready_is_an_error_with_its_last_line(tmp_path: Path, free_port: Any) -> None:
    program = "print('loading'); raise SystemExit('no shard here')"

    with pytest.raises(ManifestError, match=r"^one ended with exit code 1 before it was ready: no shard here$"):
        asyncio.run(run_until_ready(launch(tmp_path, free_port(), program)))


def test_one_that_never_gets_ready_is_killed(tmp_path: Path, free_port: Any) -> None:
    began = time.monotonic()

    with pytest.raises(ManifestError, match=r"was killed by SIGKILL before it was ready: it took longer than 0.5 s"):
        asyncio.run(run_until_ready(launch(tmp_path, free_port(), "import time; time.sleep(60)", startup_s=0.5)))

    assert time.monotonic() - began < 30


def test_another_program_on_its_port_does_not_make_a_process_ready(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        sleeping = launch(tmp_path, taken.getsockname()[1], "import time; time.sleep(60)", startup_s=0.5)

        with pytest.raises(ManifestError, match=r"before it was ready: it took longer than 0.5 s"):
            asyncio.run(run_until_ready(sleeping))


def test_a_program_that_does_not_exist_is_an_error(tmp_path: Path, free_port: Any) -> None:
    missing = Launch(name="one", argv=("/nowhere/program",), env={}, folder=tmp_path, port=free_port())

    with pytest.raises(ManifestError, match=r"^one cannot be started: /nowhere/program: No such file or directory$"):
        asyncio.run(run_until_ready(missing))


def test_a_closed_port_is_not_ready(free_port: Any) -> None:
    assert not asyncio.run(answers(free_port(), None))


def test_the_plain_console_keeps_output_and_events_apart(capsys: pytest.CaptureFixture[str]) -> None:
    console = Console()
    console.log("stage-0", "loaded")
    console.progress(1, 3, ("stage-1", "router"))
    console.progress(3, 3, ())
    console.ready("http://127.0.0.1:8080")
    printed = capsys.readouterr()

    assert printed.err == "stage-0 | loaded\n"
    assert printed.out == "1 of 3 ready, waiting for stage-1, router\nready: http://127.0.0.1:8080\n"
