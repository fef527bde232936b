"""Supervise processes on this machine as a kubelet supervises containers: start, probe, restart with backoff, stop.

A process that exits before it was ready was given something wrong: its error ends the whole chain. A process that exits
later is restarted, after a pause that doubles from 0.5 s to 10 s and is reset once the process has been ready for a
while.

No process outlives `up`: each runs in a process group of its own, which is killed as a whole, and on Linux the kernel
kills it when its parent dies (PR_SET_PDEATHSIG). The group also keeps the terminal's Ctrl-C from the processes: only
`up` receives it and stops them in order.
"""

import asyncio
import ctypes
import os
import signal
import socket
import struct
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from shardline.wire.errors import ManifestError

HOST = "127.0.0.1"
FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 10.0
HEALTHY_S = 10.0  # a process that was ready for this long restarts after the first pause again
_POLL_S = 0.1  # until ready
_PROBE_S = 5.0  # timeout of a probe
_LINE_BYTES = 64 * 1024
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_LISTEN = "0A"  # TCP_LISTEN in /proc/net/tcp


class Console:
    """Output of `up` in plain lines: processes' lines to stderr, the rest to stdout. The command has one in colour."""

    def log(self, process: str, line: str) -> None:
        """Print a line of a process's output."""
        print(f"{process} | {line}", file=sys.stderr, flush=True)

    def progress(self, ready: int, total: int, waiting_for: tuple[str, ...]) -> None:
        """Report the number of ready processes, until all are ready for the first time."""
        if waiting_for:
            print(f"{ready} of {total} ready, waiting for {', '.join(waiting_for)}", flush=True)

    def ready(self, url: str) -> None:
        """Report that all are ready and that requests go to `url`."""
        print(f"ready: {url}", flush=True)

    def notice(self, text: str) -> None:
        """Report an event in one line, e.g. that a process exited."""
        print(text, flush=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """Command line of a process and its readiness probe."""

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str]
    folder: Path
    port: int
    listener: socket.socket | None = None  # of that port, passed on with --fd; None: the process opens its port
    hop: int = 0  # processes nearer to the client have smaller numbers, and are stopped before those behind them
    ready_path: str | None = None  # None: ready when the port is open
    ready_period_s: float = 10.0
    startup_s: float = 600.0
    watched: bool = False  # probed after it was ready, too, since a Service in front of replicas depends on it
    deaf: bool = False  # sleeps after SIGTERM whatever happens, so it is killed at once


class Supervisor:
    """Keeps one process running until it is cancelled; `ready` is the result of the last probe."""

    def __init__(
        self,
        launch: Launch,
        console: Console,
        *,
        grace_s: float,
        hurry: asyncio.Event,
        on_change: Callable[[], None],
    ) -> None:
        self.name = launch.name
        self.port = launch.port
        self.ready = False
        self.was_ready = False
        self._launch = launch
        self._console = console
        self._grace_s = grace_s
        self._hurry = hurry
        self._on_change = on_change
        self._ready_since: float | None = None
        self._last_line = "it printed nothing"

    async def keep_running(self) -> None:
        """Start the process, and again whenever it exits, until cancelled.

        Raises:
            ManifestError: the process cannot be started, or exited before it was ready.
        """
        pause_s = FIRST_PAUSE_S
        while True:
            ended, ready_for_s = await self._live()
            if not self.was_ready:
                raise ManifestError(f"{self.name} {ended} before it was ready: {self._last_line}")
            pause_s = FIRST_PAUSE_S if ready_for_s >= HEALTHY_S else pause_s
            self._console.notice(f"{self.name} {ended}; starting it again in {pause_s:g} s")
            with self._refusing():
                await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    @contextmanager
    def _refusing(self) -> Iterator[None]:
        """Reset the connections to a port that is held for a process that does not run; later ones wait for it."""
        listener = self._launch.listener
        if listener is None:
            yield
            return
        loop = asyncio.get_running_loop()
        loop.add_reader(listener, _reset_next, listener)
        try:
            yield
        finally:
            loop.remove_reader(listener)

    async def _live(self) -> tuple[str, float]:
        """Run the process once; returns how it exited and for how many seconds it was ready."""
        process = await self._start()
        log = asyncio.create_task(self._copy_log(process))
        probes = asyncio.create_task(self._probe(process))
        try:
            await process.wait()
        except asyncio.CancelledError:
            if self._launch.listener is not None:
                self._launch.listener.close()  # nobody will answer any more
            raise
        finally:
            probes.cancel()
            ready_for_s = self._end_of_readiness()
            await _stop(process, 0 if self._launch.deaf else self._grace_s, self._hurry)
            await asyncio.wait({log}, timeout=1)  # only a process that left its group can still hold the pipe
            log.cancel()
        return how_it_ended(process.returncode), ready_for_s

    async def _start(self) -> asyncio.subprocess.Process:
        launch = self._launch
        inherited = () if launch.listener is None else (f"--fd={launch.listener.fileno()}",)
        try:
            return await asyncio.create_subprocess_exec(
                *launch.argv,
                *inherited,
                env=launch.env,
                cwd=launch.folder,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                limit=_LINE_BYTES,
                process_group=0,
                pass_fds=() if launch.listener is None else (launch.listener.fileno(),),
                preexec_fn=_dies_with(os.getpid()),
            )
        except OSError as exc:
            raise ManifestError(f"{launch.name} cannot be started: {launch.argv[0]}: {exc.strerror}") from exc

    async def _copy_log(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        while line := await _next_line(process.stdout):
            text = line.decode(errors="replace").rstrip()
            self._last_line = text.strip() or self._last_line
            self._console.log(self.name, text)

    async def _probe(self, process: asyncio.subprocess.Process) -> None:
        launch = self._launch
        try:
            async with asyncio.timeout(launch.startup_s):
                while not (await answers(launch.port, launch.ready_path) and self._is_ours(process)):
                    await asyncio.sleep(_POLL_S)
        except TimeoutError:
            self._last_line = f"it took longer than {launch.startup_s:g} s (startupProbe); {self._last_line}"
            _signal_group(process, signal.SIGKILL)
            return
        self._set_ready(True)
        while launch.watched:
            await asyncio.sleep(launch.ready_period_s)
            self._set_ready(await answers(launch.port, launch.ready_path))

    def _is_ours(self, process: asyncio.subprocess.Process) -> bool:
        """Tell whether the process listens on its port, and not another program that took the port before it."""
        return self._launch.listener is not None or listens(process.pid, self._launch.port)

    def _set_ready(self, ready: bool) -> None:
        if ready != self.ready:
            self.ready = ready
            self.was_ready |= ready
            self._ready_since = asyncio.get_running_loop().time() if ready else None
            self._on_change()

    def _end_of_readiness(self) -> float:
        since = self._ready_since
        self._set_ready(False)
        return 0.0 if since is None else asyncio.get_running_loop().time() - since


def listens(group: int, port: int) -> bool:
    """Tell whether a process of a process group listens on a port; True also where the kernel does not say (no /proc).

    Programs that open their port by themselves are asked there, and another program may have opened it before them.
    """
    sockets = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with suppress(OSError):
            rows = [line.split() for line in Path(table).read_text().splitlines()[1:]]
            sockets |= {f"socket:[{row[9]}]" for row in rows if row[3] == _LISTEN and int(row[1][-4:], 16) == port}
    if not Path("/proc/net/tcp").exists():
        return True
    return any(_opened(process) & sockets for process in Path("/proc").iterdir() if _is_in(group, process.name))


def _is_in(group: int, pid: str) -> bool:
    try:
        return pid.isdigit() and os.getpgid(int(pid)) == group
    except OSError:
        return False


def _opened(process: Path) -> set[str]:
    found = set()
    with suppress(OSError):
        for descriptor in (process / "fd").iterdir():
            with suppress(OSError):
                found.add(str(descriptor.readlink()))
    return found


def _reset_next(listener: socket.socket) -> None:
    with suppress(OSError):
        connection, _ = listener.accept()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()


async def answers(port: int, path: str | None) -> bool:
    """Probe a port as a kubelet does: it must be open and, with a path, GET must return 200 to 399."""
    try:
        async with asyncio.timeout(_PROBE_S):
            reader, writer = await asyncio.open_connection(HOST, port)
            try:
                return path is None or 200 <= await _status(reader, writer, path) < 400
            finally:
                writer.close()
                await writer.wait_closed()
    except (OSError, TimeoutError, ValueError, IndexError):
        return False


async def _status(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: str) -> int:
    writer.write(f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n".encode())
    await writer.drain()
    return int((await reader.readline()).split()[1])


async def _next_line(stream: asyncio.StreamReader) -> bytes:
    """Read a line, or a part of one that is longer than the buffer; empty at the end."""
    try:
        return await stream.readuntil(b"\n")
    except asyncio.IncompleteReadError as exc:
        return exc.partial
    except asyncio.LimitOverrunError:
        return await stream.read(_LINE_BYTES)


async def _stop(process: asyncio.subprocess.Process, grace_s: float, hurry: asyncio.Event) -> None:
    """Send SIGTERM, then SIGKILL to the rest of the group after the grace period, or as soon as `hurry` is set."""
    if process.returncode is None:
        with suppress(ProcessLookupError):
            process.terminate()
        waits = {asyncio.create_task(process.wait()), asyncio.create_task(hurry.wait())}
        _, pending = await asyncio.wait(waits, timeout=grace_s, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
    _signal_group(process, signal.SIGKILL)
    await process.wait()


def _signal_group(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):  # PermissionError: macOS, for a group of zombies
        os.killpg(process.pid, number)


def how_it_ended(returncode: int | None) -> str:
    """Describe an exit code: 'ended with exit code 1', 'was killed by SIGKILL'."""
    if returncode is not None and returncode < 0:
        return f"was killed by {signal.Signals(-returncode).name}"
    return f"ended with exit code {returncode}"


def _dies_with(parent: int) -> Callable[[], None] | None:
    """Make the function that ties a child's life to its parent, to be called between fork and exec; Linux only."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl  # looked up before the fork: the child must not take locks

    def in_child() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # the parent died before the line above
            os._exit(1)

    return in_child
