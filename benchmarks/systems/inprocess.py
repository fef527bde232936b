"""The model alone in a process, eager or compiled: the lower bound of time, without decoding, transfer or queue."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.bundles import ROOT
from benchmarks.load import Load, LoadResult
from benchmarks.pictures import CheckedPictures, choose_clear
from benchmarks.processes import ProcessMemory, ProcessTree
from benchmarks.systems.base import LoadSample, sample_of


@dataclass(kw_only=True)
class InProcess:
    """The whole of a bundle. `program` is "eager" or "compiled"; the clients of a load are the batch size."""

    key: str
    bundle: Path
    program: str
    files: Sequence[Path]
    device: str = "cpu"
    tree: ProcessTree | None = None

    def start(self, folder: Path) -> None:
        command = [sys.executable, "-m", "benchmarks.systems.floor", str(self.bundle), self.program, self.device]
        log = folder / f"{self.key}.log"
        self.tree = ProcessTree(self.key, [*command, *map(str, self.files)], log, cwd=ROOT, interactive=True)
        self.tree.request("1 0")

    def choose_pictures(self, folder: Path) -> CheckedPictures:
        """Pictures for which this model's prediction is clear, with their classes."""
        assert self.tree is not None
        out = folder / f"{self.key}.npy"
        self.tree.request(f"classes {out}")
        return choose_clear(self.files, np.load(out))

    def resume(self) -> None:
        if self.tree is not None:
            self.tree.resume()

    def pause(self) -> None:
        if self.tree is not None:
            self.tree.pause()

    def measure(self, loads: Sequence[Load], round_: int, warm_s: float) -> list[LoadSample]:  # noqa: ARG002  # every load has its own warm-up
        return [self._measure(load, round_) for load in loads if load.rate_rps is None]

    def _measure(self, load: Load, round_: int) -> LoadSample:
        assert self.tree is not None
        figures = json.loads(self.tree.request(f"{load.clients} {load.seconds}"))
        times_ms = figures["times_ms"]
        result = LoadResult(
            latencies_ms=tuple(time_ms for time_ms in times_ms for _ in range(load.clients)),
            seconds=sum(times_ms) / 1000,
            errors=0,
            wrong=0,
            faults=(),
            client_cpu_s=0.0,
        )
        return sample_of(self.key, round_, load, result, figures["cpu_s"], self.memory())

    def memory(self) -> list[ProcessMemory]:
        return [] if self.tree is None else self.tree.memory()

    def stop(self) -> None:
        if self.tree is not None:
            self.tree.kill()
            self.tree = None
