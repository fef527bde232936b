"""Start a real process, wait for a condition with a deadline, and leave nothing behind."""

import fcntl
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import requests

from shardline.client import waiting

ROOT = Path(__file__).resolve().parents[2]
DEADLINE_S = 120.0


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def kserve_port() -> Iterator[int]:
    """KServe's router listens on port 8080 only: tests that run side by side take it in turn."""
    with (Path(tempfile.gettempdir()) / "shardline-tests-kserve-router.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield 8080


def wait_until(condition: Callable[[], bool], what: str, deadline_s: float = DEADLINE_S) -> None:
    """Poll `condition` until it holds.

    Raises:
        TimeoutError: it did not hold within the deadline.
    """
    try:
        waiting.wait_until(condition, deadline_s)
    except TimeoutError as exc:
        raise TimeoutError(f"{what}: not within {deadline_s} s") from exc


def answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=5).status_code == 200
    except requests.RequestException:
        return False


@contextmanager
def running(
    command: Sequence[str], log: Path, env: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A process with its output in `log`; it gets a signal to stop at the end, and is killed if it does not."""
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT, env=env)
        try:
            yield process
        finally:
            stop(process)


def stop(process: subprocess.Popen[bytes] | subprocess.Popen[str], number: int = signal.SIGTERM) -> int:
    """End a process that the test started; give its exit code."""
    if process.poll() is None:
        process.send_signal(number)
    try:
        return process.wait(60)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


@contextmanager
def server(module: str, *arguments: str, log: Path, name: str, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """`python -m module` as KServe would run it, ready."""
    command = [
        *(sys.executable, "-m", module, f"--model_name={name}", f"--http_port={port}", "--enable_grpc=false"),
        *arguments,
    ]
    # as many threads as the tests themselves, which compare to the bit
    with running(command, log, os.environ | {"OMP_NUM_THREADS": "1"}) as process:
        wait_until(
            lambda: process.poll() is not None or answers(f"http://127.0.0.1:{port}/v1/models/{name}"), f"{name} ready"
        )
        assert process.poll() is None, log.read_text()
        yield process
