"""Interface of the measured systems, what HTTP systems share, and the virtual environment of other servers.

A system is started once, measured in rounds, paused between them, and stopped. It is an HTTP server (`HttpSystem`) or a
model in a process (`inprocess.py`); the measurement sees only the Protocol.

The environment of other servers, `.venv-peers`, is made on first use. TorchServe needs an old setuptools and Ray has
dozens of dependencies, so that neither belongs into the project's environment. torch with its 6 GB is not installed
twice: a .pth file adds the packages of the project's environment. requirements/torchserve.txt and requirements/ray.txt
name what is installed; each may fail without the other.
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

# Other servers run without this project's OpenMP settings, as their users do. None: not set.
PLAIN_ENV: dict[str, str | None] = {"OMP_WAIT_POLICY": None, "OMP_NUM_THREADS": None}
START_S = 120.0
RAW = "application/octet-stream"  # content type of a picture, which servers recognise by its first bytes
ANSWER = ("predictions", 0, "index")  # keys that lead to the predicted class in a v1 reply
_RPS_KEPT = 0.95  # least throughput, relative to a fixed arrival rate, at which a system is measured at that rate


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadSample:
    """Result of one load on one system in one round.

    A percentile is None where there were no replies, `cpu_ms` (of the servers, per request) where it is unknown.
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
        """Start the system; its logs and other files are written into `folder`.

        Raises:
            UnavailableError: it is not installed, or does not become ready.
        """

    def resume(self) -> None: ...

    def pause(self) -> None: ...

    def measure(self, loads: Sequence[Load], round_: int, warm_s: float) -> list[LoadSample]:
        """
        Raises:
            WrongReplyError: a reply differs from the prediction of the whole model.
            UnavailableError: it does not respond any more.
        """

    def memory(self) -> list[ProcessMemory]: ...

    def stop(self) -> None: ...


@dataclass(kw_only=True)
class HttpSystem:
    """A system with an HTTP interface. A subclass starts the process trees and sets the target."""

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
        """Expect these classes from now on."""
        assert self.target is not None
        self.target = replace(self.target, expected=classes)

    def cpu_s(self) -> float:
        return sum(tree.cpu_s() for tree in self.trees)

    def _checked(self, result: LoadResult) -> LoadResult:
        if result.wrong:
            raise WrongReplyError(f"{self.key}: {result.wrong} wrong replies: {'; '.join(result.faults)}")
        if not result.latencies_ms:
            raise UnavailableError(f"{self.key} gave no reply: {'; '.join(result.faults) or 'no reply in time'}")
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
        pss_mib=sum(process.pss_mib for process in memory),
        peak_rss_mib=sum(process.peak_rss_mib for process in memory),
        note="; ".join(result.faults),
    )


def _not_kept(key: str, round_: int, load: Load, best: float) -> LoadSample:
    """A sample without latencies: that of a queue that only grows depends on when the measurement ends."""
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
        note=f"does not reach {load.rate_rps:g} requests/s",
    )


VENV = ROOT / ".venv-peers"
BIN = VENV / "bin"
PYTHON = BIN / "python"
_INSTALL_S = 900


def ensure_peer(extra: str, say: Callable[[str], None]) -> None:
    """Install the packages of requirements/EXTRA.txt into `.venv-peers`, unless they are installed.

    Raises:
        UnavailableError: the environment cannot be made, or pip cannot install it.
    """
    stamp = VENV / f"{extra}.installed"
    base = sysconfig.get_paths()["purelib"]
    wanted = "\n".join([base, *_requirements(extra)]) + "\n"  # the project's environment may have moved
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
    """The graph with which the router in this tree was started; None where there is no router."""
    for process in tree.processes():
        words = process.cmdline()
        if "shardline.manifests.router" in words and "--graph-json" in words:
            return words[words.index("--graph-json") + 1]
    return None


def our_router(graph: object, port: int, log: Path) -> ProcessTree:
    """Start the project's router alone, in front of stages that `shardline up` did not start."""
    command = [sys.executable, "-m", "shardline.manifests.router", "--graph-json", json.dumps(graph), f"--port={port}"]
    tree = ProcessTree("router", [*command, "--drain-seconds=0"], log, cwd=ROOT)
    tree.wait_until(lambda: is_open(port), 30)
    return tree
