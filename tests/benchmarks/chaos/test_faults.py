"""Faults hit a real process and are lifted again."""

import asyncio
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from services.processes import free_port, listens, wait_until

from benchmarks.chaos.faults import FAULTS, Phase, Victim

LISTEN = """
import socket, sys, time
with socket.create_server(("127.0.0.1", int(sys.argv[1]))) as server:
    time.sleep(60)
"""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="prlimit")


@pytest.fixture
def victim(tmp_path: Path) -> Iterator[Victim]:
    port = free_port()
    (tmp_path / "shard.pt2").write_bytes(b"weights")
    with subprocess.Popen([sys.executable, "-c", LISTEN, str(port)]) as process:
        wait_until(lambda: listens(port), "the process")
        found = psutil.Process(process.pid)
        yield Victim(
            role="stage 0", process=found, up=psutil.Process(), port=port, folder=tmp_path, path="/", body=b"x"
        )
        process.send_signal(signal.SIGCONT)
        process.kill()


def during(victim: Victim, name: str, phase: Phase = "load") -> dict[str, object]:
    """The state of the victim while the fault lasts."""
    fault = next(fault for fault in FAULTS if fault.name == name)

    async def run() -> dict[str, object]:
        async with fault.apply(victim, phase):
            await asyncio.sleep(0.05)
            state = victim.process.status() if victim.process.is_running() else "gone"
            file = victim.folder / "shard.pt2" if victim.folder else Path()
            limit = victim.process.rlimit(resource.RLIMIT_FSIZE)[0] if state != psutil.STATUS_ZOMBIE else None
            return {"state": state, "file": file.read_bytes() if file.exists() else None, "limit": limit}

    return asyncio.run(run())


@pytest.mark.parametrize("name", ["SIGKILL", "SIGTERM"])
def test_signals_end_the_process(victim: Victim, name: str) -> None:
    during(victim, name)

    wait_until(lambda: victim.process.status() == psutil.STATUS_ZOMBIE, "its end")


@pytest.mark.parametrize("name", ["SIGSTOP", "black hole"])
def test_a_stopped_process_goes_on(victim: Victim, name: str) -> None:
    assert during(victim, name)["state"] == psutil.STATUS_STOPPED
    assert victim.process.status() != psutil.STATUS_STOPPED


def test_the_port_is_taken_and_given_back(victim: Victim) -> None:
    during(victim, "port taken")

    wait_until(lambda: not listens(victim.port), "the port to be free")


def test_files_cannot_grow(victim: Victim) -> None:
    assert during(victim, "disk full", "idle")["limit"] == 0
    assert victim.process.rlimit(resource.RLIMIT_FSIZE)[0] != 0


@pytest.mark.parametrize(("name", "found"), [("file lost", None), ("file altered", b"weifhts")])
def test_files_come_back(victim: Victim, name: str, found: bytes | None) -> None:
    assert during(victim, name)["file"] == found
    assert victim.folder is not None
    assert (victim.folder / "shard.pt2").read_bytes() == b"weights"


def test_slow_readers_send_requests(victim: Victim) -> None:
    victim.process.kill()
    wait_until(lambda: not listens(victim.port), "the port to be free")
    with socket.create_server(("127.0.0.1", victim.port)) as listener:
        during(victim, "slow readers")
        connection, _ = listener.accept()
        with connection:
            assert connection.recv(4096).startswith(victim.request())


def test_every_fault_is_tried_here() -> None:
    here = {"SIGKILL", "SIGTERM", "SIGSTOP", "black hole", "port taken", "disk full", "file lost", "file altered"}

    assert {fault.name for fault in FAULTS} == here | {"slow readers", "memory limit"}
