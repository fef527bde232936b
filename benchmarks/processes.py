"""Process trees of the measured systems: start, readiness, pause, memory, processor time and end; free ports.

Every system is started once and measured in rounds. Between its measurements its tree is stopped by SIGSTOP, so that
its work when idle (Ray's dashboards, a JVM's collectors) takes nothing from the system that is measured.

This process adopts all processes that its children leave behind (PR_SET_CHILD_SUBREAPER, Linux): a daemon that detaches
itself is still found below it, and `end_all` ends it.
"""

import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType

import psutil

from shardline.client.waiting import wait_until
from shardline.wire.errors import ShardlineError
from shardline.wire.limits import MIB

_GRACE_S = 15.0
_POLL_S = 0.1
_PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h


class UnavailableError(Exception):
    """A system cannot be measured here; the message is one line with the cause and a remedy."""


class WrongReplyError(Exception):
    """A reply differs from the prediction of the whole model, so that the system's figures are worthless."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessMemory:
    """Memory of one process in MiB. PSS divides shared pages among the processes that map them: it can be added."""

    name: str
    pss_mib: float
    rss_mib: float
    peak_rss_mib: float


class ProcessTree:
    """A started program and all processes that it starts.

    Its output is written to `log`, or, with `interactive`, its stdout is read by `request`. `env` is added to the
    environment of this process; None removes a variable.
    """

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        log: Path,
        *,
        env: Mapping[str, str | None] | None = None,
        cwd: Path | None = None,
        interactive: bool = False,
    ) -> None:
        self.name = name
        self.log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as output:
            self._popen = subprocess.Popen(
                list(argv),
                env={name: value for name, value in {**os.environ, **(env or {})}.items() if value is not None},
                cwd=cwd,
                stdin=subprocess.PIPE if interactive else subprocess.DEVNULL,
                stdout=subprocess.PIPE if interactive else output,
                stderr=output,
                start_new_session=True,  # Ctrl-C reaches only this process, which ends the tree in order
            )

    @property
    def pid(self) -> int:
        return self._popen.pid

    def wait_until(self, ready: Callable[[], bool], deadline_s: float) -> None:
        """
        Raises:
            UnavailableError: it ended, or was not ready in time, with the last line that it printed.
        """
        try:
            state = wait_until(
                lambda: "ready" if ready() else "ended" if self._popen.poll() is not None else "",
                deadline_s,
                interval_s=_POLL_S,
            )
        except TimeoutError as exc:
            raise UnavailableError(f"{self.name} was not ready after {deadline_s:g} s: {self.last_line()}") from exc
        if state == "ended":
            raise UnavailableError(f"{self.name} ended with exit code {self._popen.returncode}: {self.last_line()}")

    def request(self, line: str) -> str:
        """Write a line to its stdin and return the next line of its stdout; an empty line is not written.

        Raises:
            UnavailableError: it ended.
        """
        assert self._popen.stdin is not None
        assert self._popen.stdout is not None
        with suppress(BrokenPipeError):
            self._popen.stdin.write(f"{line}\n".encode() if line else b"")
            self._popen.stdin.flush()
        if reply := self._popen.stdout.readline():
            return reply.decode().strip()
        raise UnavailableError(f"{self.name} ended with exit code {self._popen.wait()}: {self.last_line()}")

    def printed(self) -> str:
        return self.log.read_text(errors="replace")

    def last_line(self) -> str:
        lines = [line.strip() for line in self.printed().splitlines() if line.strip()]
        return f"{lines[-1][:300]} ({self.log})" if lines else "it printed nothing"

    def processes(self) -> list[psutil.Process]:
        return _with_children(self.pid)

    def cpu_s(self) -> float:
        """User and system seconds of the tree, including children that have ended and were waited for."""
        total = 0.0
        for process in self.processes():
            with suppress(psutil.Error):
                times = process.cpu_times()
                total += times.user + times.system + times.children_user + times.children_system
        return total

    def memory(self) -> list[ProcessMemory]:
        found = []
        for process in self.processes():
            with suppress(psutil.Error, OSError):
                found.append(_memory(process))
        return found

    def pause(self) -> None:
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """Kill the tree at once, for a program that ends slowly after SIGTERM."""
        _kill(self.processes())
        self._close()

    def stop(self) -> None:
        """Send SIGTERM to the first process, which ends its children in order; kill what is left after a while."""
        left = self.processes()
        self.resume()
        with suppress(ProcessLookupError):
            self._popen.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._popen.wait(_GRACE_S)
        _kill([*left, *self.processes()])
        self._close()

    def _close(self) -> None:
        self._popen.wait()
        for pipe in (self._popen.stdin, self._popen.stdout):
            if pipe is not None:
                with suppress(BrokenPipeError):
                    pipe.close()

    def _signal(self, number: signal.Signals) -> None:
        for process in self.processes():
            with suppress(psutil.Error):
                process.send_signal(number)


def _with_children(pid: int) -> list[psutil.Process]:
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.Error:
        return []


def _memory(process: psutil.Process) -> ProcessMemory:
    full = process.memory_full_info()
    return ProcessMemory(
        name=role(process.cmdline()),
        pss_mib=getattr(full, "pss", full.rss) / MIB,  # measured on Linux only
        rss_mib=full.rss / MIB,
        peak_rss_mib=_peak_rss_mib(process.pid) or full.rss / MIB,
    )


def _peak_rss_mib(pid: int) -> float | None:
    """The kernel's record of the largest resident size, which psutil does not report."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    return None


def role(command: Sequence[str]) -> str:
    """Role of a process by its command line: the module of `python -m MODULE`, else the program."""
    if "-m" in command[:-1] and Path(command[0]).name.startswith("python"):
        return command[command.index("-m") + 1]
    return Path(command[0]).name if command else "unknown"


def _kill(processes: Sequence[psutil.Process]) -> None:
    """Kill exactly these processes: psutil compares start times, so that a reused pid is spared."""
    for process in processes:
        with suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(processes, timeout=5)


def end_all() -> None:
    """Kill all processes that this one started and that still run."""
    _kill(_with_children(os.getpid())[1:])


@contextmanager
def ending_all() -> Iterator[None]:
    """End all started processes when the block ends, also by Ctrl-C, SIGTERM or SIGHUP."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    before = {number: signal.signal(number, _interrupt) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number in before:
            signal.signal(number, signal.SIG_IGN)  # a second Ctrl-C must not interrupt the ending
        end_all()
        for number, handler in before.items():
            signal.signal(number, handler)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def run_benchmark(measure: Callable[[Path], Mapping[str, object]]) -> int:
    """Measure in a temporary folder, print the result as the last line, and return the exit code.

    It is 130 after Ctrl-C or SIGTERM, and 1 with one line on stderr where something is missing or a reply is wrong.
    """
    with ending_all(), TemporaryDirectory(prefix="bench-") as folder:
        try:
            document = measure(Path(folder))
        except (UnavailableError, WrongReplyError, ShardlineError) as exc:
            print(f"error: {exc}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            print("stopped", file=sys.stderr)
            return 130
    print(json.dumps(document))
    return 0


_returned: set[int] = set()


def free_port() -> int:
    """A port that is free now and was not returned before."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        if port not in _returned:
            _returned.add(port)
            return port


def is_open(port: int) -> bool:
    """True if a server accepts connections at this port."""
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex(("127.0.0.1", port)) == 0
