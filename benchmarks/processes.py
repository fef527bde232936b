"""A system's processes as one tree: started, watched until ready, paused, weighed, and ended to the last one.

Every system is started once and measured in turns. Between its turns its tree is stopped by SIGSTOP, so that what one
system does when idle (Ray's dashboards, a JVM's collectors) takes nothing from the one that is measured.

This process becomes the reaper of all that its children leave behind (PR_SET_CHILD_SUBREAPER, Linux): a daemon that
forks itself away is still found below it, and `end_all` ends it.
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

_GRACE_S = 15.0
_POLL_S = 0.1
_PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h
_MIB = 1024**2


class UnavailableError(Exception):
    """A system cannot be measured here: one line that says what is missing and what to do."""


class WrongReplyError(Exception):
    """A system answered, but not what the whole model says: its figures are worth nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessMemory:
    """One process' memory in MiB. PSS shares out pages that several processes map, so that a sum over them is true."""

    name: str
    pss_mib: float
    rss_mib: float
    peak_rss_mib: float


class ProcessTree:
    """One started program and all that it starts. What it prints goes to `log`; or, if `asked`, to who asks it.

    `env` is added to this process' own; None takes a variable away.
    """

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        log: Path,
        *,
        env: Mapping[str, str | None] | None = None,
        cwd: Path | None = None,
        asked: bool = False,
    ) -> None:
        self.name = name
        self.log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as output:
            self._popen = subprocess.Popen(
                list(argv),
                env={name: value for name, value in {**os.environ, **(env or {})}.items() if value is not None},
                cwd=cwd,
                stdin=subprocess.PIPE if asked else subprocess.DEVNULL,
                stdout=subprocess.PIPE if asked else output,
                stderr=output,
                start_new_session=True,  # the terminal's Ctrl-C is ours: the tree is ended in order
            )

    @property
    def pid(self) -> int:
        return self._popen.pid

    def wait_until(self, ready: Callable[[], bool], deadline_s: float) -> None:
        """
        Raises:
            UnavailableError: it ended, or took too long; with the last line that it printed.
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

    def ask(self, line: str) -> str:
        """Write a line to it, and wait for its line; the empty line only listens.

        Raises:
            UnavailableError: it ended.
        """
        assert self._popen.stdin is not None
        assert self._popen.stdout is not None
        with suppress(BrokenPipeError):
            self._popen.stdin.write(f"{line}\n".encode() if line else b"")
            self._popen.stdin.flush()
        if answer := self._popen.stdout.readline():
            return answer.decode().strip()
        raise UnavailableError(f"{self.name} ended with exit code {self._popen.wait()}: {self.last_line()}")

    def printed(self) -> str:
        return self.log.read_text(errors="replace")

    def last_line(self) -> str:
        lines = [line.strip() for line in self.printed().splitlines() if line.strip()]
        return f"{lines[-1][:300]} ({self.log})" if lines else "it printed nothing"

    def processes(self) -> list[psutil.Process]:
        return _with_children(self.pid)

    def cpu_s(self) -> float:
        """User and system seconds that the tree has used, children that have ended and were waited for included."""
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
        """At once, for a program that takes its time after SIGTERM."""
        _kill(self.processes())
        self._close()

    def stop(self) -> None:
        """SIGTERM to the first process, which ends its own in order; what is left after a while is killed."""
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
        pss_mib=getattr(full, "pss", full.rss) / _MIB,  # Linux alone counts it
        rss_mib=full.rss / _MIB,
        peak_rss_mib=_peak_rss_mib(process.pid) or full.rss / _MIB,
    )


def _peak_rss_mib(pid: int) -> float | None:
    """The kernel's own mark of the most that a process ever held; psutil does not pass it on."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    return None


def role(command: Sequence[str]) -> str:
    """What a process is, by its command line: the module of `python -m MODULE`, else the program."""
    if "-m" in command[:-1] and Path(command[0]).name.startswith("python"):
        return command[command.index("-m") + 1]
    return Path(command[0]).name if command else "unknown"


def _kill(processes: Sequence[psutil.Process]) -> None:
    """Only these very processes: psutil compares their start times, and spares who got a pid later."""
    for process in processes:
        with suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(processes, timeout=5)


def end_all() -> None:
    """Kill all that this process started and that still runs."""
    _kill(_with_children(os.getpid())[1:])


@contextmanager
def ending_all() -> Iterator[None]:
    """Whatever happens inside, Ctrl-C, SIGTERM and SIGHUP included, nothing that was started stays behind."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    before = {number: signal.signal(number, _interrupt) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number in before:
            signal.signal(number, signal.SIG_IGN)  # a second Ctrl-C must not cut the ending short
        end_all()
        for number, handler in before.items():
            signal.signal(number, handler)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def run_benchmark(measure: Callable[[Path], Mapping[str, object]]) -> int:
    """Measure in a temporary folder and print what comes of it as the last line; -> the exit code.

    130 after Ctrl-C or SIGTERM, 1 with one line where something is missing or answers wrong.
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


_given: set[int] = set()


def free_port() -> int:
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        if port not in _given:
            _given.add(port)
            return port


def is_open(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex(("127.0.0.1", port)) == 0
