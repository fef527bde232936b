"""What is measured: a system that is started once, asked in turns, paused between them, and stopped.

A system is an HTTP service (`HttpSystem`: all of the servers) or a model in a process of ours (`inprocess.py`); who
measures sees only the Protocol.
"""

import json
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

import numpy as np

from benchmarks.bundles import ROOT
from benchmarks.load import Load, LoadProcess, LoadResult, LoadTarget
from benchmarks.pictures import CheckedPictures
from benchmarks.processes import ProcessMemory, ProcessTree, UnavailableError, WrongReplyError, is_open

# What this project found out about OpenMP is its own: a peer's processes get what its users have. None: not set.
PLAIN_ENV: dict[str, str | None] = {"OMP_WAIT_POLICY": None, "OMP_NUM_THREADS": None}
START_S = 120.0
RAW = "application/octet-stream"  # content type of a picture, which servers recognise by its first bytes
ANSWER = ("predictions", 0, "index")  # keys that lead to the predicted class in a v1 reply
_RPS_KEPT = 0.95  # of a rate: a system that does less of it is not asked at it


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadSample:
    """One load of one system in one round.

    A percentile is None where nothing was answered, `cpu_ms` (of the servers, a request) where it cannot be told.
    """

    system: str
    round: int
    load: str
    rps: float
    p50_ms: float | None
    p90_ms: float | None
    p99_ms: float | None
    max_ms: float | None
    answered: int
    errors: int
    cpu_ms: float | None
    client_cpu_ms: float | None
    pss_mib: float | None
    peak_rss_mib: float | None
    note: str = ""


class System(Protocol):
    key: str

    def start(self, folder: Path) -> None:
        """Start it; logs and what it needs go into `folder`.

        Raises:
            UnavailableError: it is not here, or does not get ready.
        """

    def resume(self) -> None: ...

    def pause(self) -> None: ...

    def measure(self, loads: Sequence[Load], round_: int, warm_s: float) -> list[LoadSample]:
        """
        Raises:
            WrongReplyError: an answer that is not the whole model's.
            UnavailableError: it does not answer any more.
        """

    def memory(self) -> list[ProcessMemory]: ...

    def stop(self) -> None: ...


@dataclass(kw_only=True)
class HttpSystem:
    """A system that is asked over HTTP. A subclass starts the trees and names the target."""

    key: str
    pictures: CheckedPictures
    client: LoadProcess
    trees: list[ProcessTree] = field(default_factory=list)
    target: LoadTarget | None = None

    def resume(self) -> None:
        for tree in self.trees:
            tree.resume()

    def pause(self) -> None:
        for tree in self.trees:
            tree.pause()

    def memory(self) -> list[ProcessMemory]:
        return [memory for tree in self.trees for memory in tree.memory()]

    def stop(self) -> None:
        for tree in self.trees:
            tree.stop()
        self.trees.clear()

    def measure(self, loads: Sequence[Load], round_: int, warm_s: float) -> list[LoadSample]:
        assert self.target is not None
        self._checked(self.client.run(self.target, Load(seconds=warm_s, clients=2)))
        samples: list[LoadSample] = []
        for load in loads:
            best = max((sample.rps for sample in samples), default=0.0)
            if load.rate_rps is not None and best and best * _RPS_KEPT < load.rate_rps:
                samples.append(_not_kept(self.key, round_, load, best))
                continue
            cpu_s = self.cpu_s()
            result = self._checked(self.client.run(self.target, load))
            samples.append(sample_of(self.key, round_, load, result, self.cpu_s() - cpu_s, self.memory()))
        return samples

    def expect(self, classes: tuple[int, ...]) -> None:
        """From now on these are the right answers."""
        assert self.target is not None
        self.target = replace(self.target, expected=classes)

    def cpu_s(self) -> float:
        return sum(tree.cpu_s() for tree in self.trees)

    def _checked(self, result: LoadResult) -> LoadResult:
        if result.wrong:
            raise WrongReplyError(f"{self.key}: {result.wrong} wrong replies: {'; '.join(result.faults)}")
        if not result.latencies_ms:
            raise UnavailableError(f"{self.key} answered nothing: {'; '.join(result.faults) or 'no reply in time'}")
        return result


def sample_of(
    key: str, round_: int, load: Load, result: LoadResult, cpu_s: float, memory: Sequence[ProcessMemory]
) -> LoadSample:
    count = len(result.latencies_ms)
    p50, p90, p99, most = np.percentile(result.latencies_ms, [50, 90, 99, 100]).tolist()
    return LoadSample(
        system=key,
        round=round_,
        load=load.name,
        rps=result.rps,
        p50_ms=p50,
        p90_ms=p90,
        p99_ms=p99,
        max_ms=most,
        answered=count,
        errors=result.errors,
        cpu_ms=cpu_s / count * 1000,
        client_cpu_ms=result.client_cpu_s / count * 1000,
        pss_mib=sum(each.pss_mib for each in memory),
        peak_rss_mib=sum(each.peak_rss_mib for each in memory),
        note="; ".join(result.faults),
    )


def _not_kept(key: str, round_: int, load: Load, best: float) -> LoadSample:
    """A queue that only grows has no latency: it depends on when one stops to look."""
    return LoadSample(
        system=key,
        round=round_,
        load=load.name,
        rps=best,
        p50_ms=None,
        p90_ms=None,
        p99_ms=None,
        max_ms=None,
        answered=0,
        errors=0,
        cpu_ms=None,
        client_cpu_ms=None,
        pss_mib=None,
        peak_rss_mib=None,
        note=f"does not keep {load.rate_rps:g} requests/s",
    )


VENV = ROOT / ".venv-peers"
BIN = VENV / "bin"
PYTHON = BIN / "python"
_INSTALL_S = 900


def ensure_peer(extra: str, say: Callable[[str], None]) -> None:
    """Install what the extra names into `.venv-peers`, unless it is there.

    Raises:
        UnavailableError: the environment cannot be made, or pip cannot install it.
    """
    stamp = VENV / f"{extra}.installed"
    base = sysconfig.get_paths()["purelib"]
    wanted = "\n".join([base, *_requirements(extra)]) + "\n"  # the environment below may have moved
    if stamp.is_file() and stamp.read_text() == wanted:
        return
    if not PYTHON.exists():
        say("making .venv-peers")
        _run([sys.executable, "-m", "venv", str(VENV)], extra)
    packages = Path(_run([str(PYTHON), "-c", "import sysconfig; print(sysconfig.get_paths()['purelib'])"], extra))
    (packages / "shardline_base.pth").write_text(base + "\n")
    say(f"installing {', '.join(_requirements(extra))} into .venv-peers")
    _run([str(PYTHON), "-m", "pip", "install", "--quiet", *_requirements(extra)], extra)
    stamp.write_text(wanted)


def _requirements(extra: str) -> list[str]:
    lines = (ROOT / "requirements" / f"{extra}.txt").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if not line.startswith("#")]


def _run(command: list[str], extra: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_INSTALL_S)
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise UnavailableError(f"{extra} cannot be installed: {exc}") from exc
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        raise UnavailableError(f"{extra} cannot be installed: {lines[-1] if lines else done.returncode}")
    return done.stdout.strip()


def graph_json(tree: ProcessTree) -> str | None:
    for process in tree.processes():
        words = process.cmdline()
        if "shardline.manifests.router" in words and "--graph-json" in words:
            return words[words.index("--graph-json") + 1]
    return None


def our_router(graph: object, port: int, log: Path) -> ProcessTree:
    """The project's router alone, in front of stages that `shardline up` did not start."""
    command = [sys.executable, "-m", "shardline.manifests.router", "--graph-json", json.dumps(graph), f"--port={port}"]
    tree = ProcessTree("router", [*command, "--drain-seconds=0"], log, cwd=ROOT)
    tree.wait_until(lambda: is_open(port), 30)
    return tree
