"""Micro-benchmarks as parts of a large benchmark, each in a process of its own whose last line is its result."""

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.bundles import ROOT
from benchmarks.processes import UnavailableError

_TIMEOUT_S = 900


@dataclass(frozen=True, slots=True, kw_only=True)
class MicroBenchmark:
    """A benchmark module. `figures` are the keys of its last line that the large benchmark takes over."""

    module: str
    figures: tuple[str, ...]
    arguments: tuple[str, ...] = ()
    quick: bool = True  # also part of a quick run


def _all(bundle: Path) -> list[MicroBenchmark]:
    return [
        MicroBenchmark(module="codec", figures=("codec_ms",)),
        MicroBenchmark(module="decoding", figures=("picture_ms",), quick=False),
        MicroBenchmark(module="stage_overhead", figures=("stage_overhead_ms", "stage_cpu_ms")),
        MicroBenchmark(module="start_up", figures=("start_s", "start_cpu_s"), arguments=(str(bundle),)),
        MicroBenchmark(module="router_hop", figures=("router_hop_ms", "kserve_router_hop_ms"), quick=False),
        MicroBenchmark(module="batching", figures=("batch_8_over_batch_1", "worker_8_clients_us"), quick=False),
        MicroBenchmark(module="memory_flat", figures=("growth_mib",), quick=False),
        MicroBenchmark(module="planner", figures=("planner_over_best",), arguments=("--quick",)),
    ]


def micro_figures(bundle: Path, say: Callable[[str], None], *, quick: bool) -> dict[str, object]:
    """Run all micro-benchmarks and return their figures; None, with a line on stderr, for one that fails.

    Args:
        bundle: of three stages, compiled where possible; one of them is started.
    """
    figures: dict[str, object] = {}
    for micro in _all(bundle):
        if micro.quick or not quick:
            say(f"python -m benchmarks.{micro.module} {' '.join(micro.arguments)}")
            figures |= _figures(micro, say)
    return figures


def _figures(micro: MicroBenchmark, say: Callable[[str], None]) -> dict[str, object]:
    try:
        document = run_micro(micro.module, micro.arguments)
        return {name: document[name] for name in micro.figures}
    except (UnavailableError, KeyError) as exc:
        say(f"benchmarks.{micro.module} failed: {exc}")
        return dict.fromkeys(micro.figures)


def run_micro(module: str, arguments: Sequence[str] = ()) -> dict[str, Any]:
    """Run a micro-benchmark and return its last line.

    Raises:
        UnavailableError: it failed, or exceeded the time limit.
    """
    command = [sys.executable, "-m", f"benchmarks.{module}", *arguments]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=_TIMEOUT_S)
    except subprocess.TimeoutExpired as exc:
        raise UnavailableError(f"it took longer than {_TIMEOUT_S} s") from exc
    try:
        document: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    except (ValueError, LookupError) as exc:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        raise UnavailableError(lines[-1] if lines else f"exit code {done.returncode}") from exc
    return document


if __name__ == "__main__":
    print(json.dumps(micro_figures(Path(sys.argv[1]), lambda text: print(text, file=sys.stderr), quick=False)))
