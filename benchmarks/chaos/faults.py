"""Faults of a process: signals, a taken port, a full disk, too little memory, slow readers, files, a black hole.

Each fault is an asynchronous context manager: it begins with the block and is lifted at its end. Faults need no rights
beyond those over processes of the same user; limits are set on running processes by prlimit (Linux).
"""

import asyncio
import resource
import shutil
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psutil

Phase = Literal["start", "idle", "load"]
HOST = "127.0.0.1"
_SLOW_CLIENTS = 20
_SLOW_REQUESTS = 200
_PORT_S = 0.4  # less than the shortest pause before a process starts again
_QUEUE = 4200  # connections: more than the longest queue of a listening socket by default, 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Victim:
    """A process that a fault hits.

    Attributes:
        up: the `shardline up` above it, or itself.
        folder: the stage's files; None for a process without any.
        path: of its requests.
        body: of a request that a stage accepts; empty for the others, which take pictures.
    """

    role: str
    process: psutil.Process
    up: psutil.Process
    port: int
    folder: Path | None
    path: str
    body: bytes

    def request(self) -> bytes:
        """Bytes of an HTTP request, to which the reply is a frame, a prediction or an error."""
        head = f"POST {self.path} HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: {len(self.body)}\r\n\r\n"
        return head.encode() + self.body


Apply = Callable[[Victim, Phase], AbstractAsyncContextManager[None]]


@asynccontextmanager
async def _killed(victim: Victim, _: Phase) -> AsyncIterator[None]:
    victim.process.kill()
    yield


@asynccontextmanager
async def _terminated(victim: Victim, _: Phase) -> AsyncIterator[None]:
    victim.process.terminate()
    yield


@asynccontextmanager
async def _stopped(victim: Victim, _: Phase) -> AsyncIterator[None]:
    victim.process.suspend()
    try:
        yield
    finally:
        with suppress(psutil.NoSuchProcess):
            victim.process.resume()


@asynccontextmanager
async def _port_taken(victim: Victim, _: Phase) -> AsyncIterator[None]:
    """Another program listens on the port as soon as it is free, accepts connections and never answers."""
    victim.process.kill()
    with ExitStack() as stack:
        if (listener := await _listen(victim.port)) is not None:
            stack.enter_context(listener)
        yield


async def _listen(port: int) -> socket.socket | None:
    """Open a port of a process that was killed; None where it is held for the next one."""
    give_up_at = asyncio.get_running_loop().time() + _PORT_S
    while asyncio.get_running_loop().time() < give_up_at:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, port))
            listener.listen()
        except OSError:
            listener.close()
            await asyncio.sleep(0.02)
        else:
            return listener
    return None


@asynccontextmanager
async def _blackholed(victim: Victim, phase: Phase) -> AsyncIterator[None]:
    """Packets to the port are dropped: the process is stopped, and its queue of new connections is full."""
    async with _stopped(victim, phase):
        with ExitStack() as stack:
            for _number in range(_QUEUE):
                filler = stack.enter_context(socket.socket())
                filler.setblocking(False)
                filler.connect_ex((HOST, victim.port))
            yield


@asynccontextmanager
async def _disk_full(victim: Victim, phase: Phase) -> AsyncIterator[None]:
    """No file can grow: of the process; in the phase `start`, of its parent, and the process starts again below it."""
    parent = victim.process.parent()
    target = parent if phase == "start" and parent is not None else victim.process
    with _limited(target, resource.RLIMIT_FSIZE, 0):
        if phase == "start":
            victim.process.kill()
        yield
    if phase == "start":  # the limit of what was started meanwhile
        for child in target.children():
            _restore(child, resource.RLIMIT_FSIZE, resource.RLIM_INFINITY)


@asynccontextmanager
async def _memory_limited(victim: Victim, _: Phase) -> AsyncIterator[None]:
    """The process gets no more memory than it has."""
    with suppress(psutil.NoSuchProcess), _limited(victim.process, resource.RLIMIT_AS, victim.process.memory_info().vms):
        yield


class _limited:  # noqa: N801  # a context manager that is called like a function
    """A soft limit of a running process, which is restored at the end of the block if the process lives."""

    def __init__(self, process: psutil.Process, kind: int, value: int) -> None:
        self._process, self._kind = process, kind
        self._before, hard = process.rlimit(kind)
        process.rlimit(kind, (value, hard))

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        _restore(self._process, self._kind, self._before)


def _restore(process: psutil.Process, kind: int, value: int) -> None:
    with suppress(psutil.NoSuchProcess):
        process.rlimit(kind, (value, process.rlimit(kind)[1]))


@asynccontextmanager
async def _slow_readers(victim: Victim, _: Phase) -> AsyncIterator[None]:
    """Clients send requests one behind the other and read no reply."""
    with ExitStack() as stack:
        for _number in range(_SLOW_CLIENTS):
            client = stack.enter_context(socket.socket())
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.setblocking(False)
            with suppress(OSError):
                await asyncio.get_running_loop().sock_connect(client, (HOST, victim.port))
                client.send(victim.request() * _SLOW_REQUESTS)
        yield


@asynccontextmanager
async def _file_lost(victim: Victim, _: Phase) -> AsyncIterator[None]:
    """The shard's file disappears, and the process starts again without it."""
    file = _shard_file(victim)
    kept = file.with_suffix(".kept")
    shutil.copy(file, kept)
    file.unlink()
    victim.process.kill()
    try:
        yield
    finally:
        kept.replace(file)


@asynccontextmanager
async def _file_altered(victim: Victim, _: Phase) -> AsyncIterator[None]:
    """A byte in the middle of the shard's file changes while the process runs; then it starts again."""
    file = _shard_file(victim)
    data = file.read_bytes()
    middle = len(data) // 2
    with file.open("r+b") as opened:  # in place: a process that mapped the file sees it
        opened.seek(middle)
        opened.write(bytes([data[middle] ^ 1]))
    await asyncio.sleep(0.5)
    victim.process.kill()
    try:
        yield
    finally:
        file.write_bytes(data)


def _shard_file(victim: Victim) -> Path:
    assert victim.folder is not None
    return next(victim.folder.glob("*.pt2"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A fault by its name in the report.

    Attributes:
        lasts: it has an end, at which it is lifted; the others end the process.
        silences: while it lasts, its process does not reply.
        for_up: it can be applied to `up` itself.
        for_files: it needs a process that has files.
    """

    name: str
    apply: Apply
    lasts: bool = True
    silences: bool = False
    for_up: bool = False
    for_files: bool = False


FAULTS = (
    Fault(name="SIGKILL", apply=_killed, lasts=False, for_up=True),
    Fault(name="SIGTERM", apply=_terminated, lasts=False, for_up=True),
    Fault(name="SIGSTOP", apply=_stopped, silences=True, for_up=True),
    Fault(name="port taken", apply=_port_taken, silences=True),
    Fault(name="black hole", apply=_blackholed, silences=True),
    Fault(name="disk full", apply=_disk_full, for_up=True),
    Fault(name="memory limit", apply=_memory_limited),
    Fault(name="slow readers", apply=_slow_readers),
    Fault(name="file lost", apply=_file_lost, for_files=True),
    Fault(name="file altered", apply=_file_altered, for_files=True),
)
