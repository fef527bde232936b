"""Time from the start of a stage's process until it is ready: `python -m benchmarks.start_up [BUNDLE] [--turns 3]`.

What: the middle stage of a bundle, started with the command line of `shardline up`, until it reports that it is ready:
imports, digests, loading of the shard and warm-up. Wall and processor seconds, the median of several starts; without
BUNDLE of ResNet-50 in three compiled stages, which is built if necessary.

Why: a new replica takes this long before it helps, once its image and shard are there.

Ceiling: `import_s`, the time to import torch and KServe's server.

The last line is one JSON object; `start_s` is the median.
"""

import subprocess
import sys
import time
from argparse import ArgumentParser
from pathlib import Path
from statistics import median

from benchmarks.bundles import BundleSpec, ensure
from benchmarks.processes import run_benchmark
from benchmarks.stage import running_stage


def main() -> int:
    parser = ArgumentParser(description="Measure the start-up time of a stage.")
    parser.add_argument("bundle", nargs="?", type=Path, help="Default: ResNet-50 in three compiled stages")
    parser.add_argument("--turns", type=int, default=3, help="Number of starts")
    arguments = parser.parse_args()
    return run_benchmark(lambda folder: measure(folder, arguments.bundle, arguments.turns))


def measure(folder: Path, given: Path | None, turns: int) -> dict[str, object]:
    bundle = given or ensure(BundleSpec(stages=3, compiled=True), print)
    starts_s, cpus_s, imports_s = [], [], []
    for turn in range(turns):
        (place := folder / str(turn)).mkdir()
        with running_stage(bundle.resolve(), 1, place) as server:
            starts_s.append(server.start_s)
            cpus_s.append(server.tree.cpu_s())
        imports_s.append(_import_s())
    figures = {
        "start_s": round(median(starts_s), 3),
        "start_cpu_s": round(median(cpus_s), 3),
        "import_s": round(median(imports_s), 3),
    }
    return {"benchmark": "start_up", "bundle": bundle.name, "starts_s": starts_s, **figures}


def _import_s() -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import torch, kserve"], check=True)
    return time.perf_counter() - start


if __name__ == "__main__":
    sys.exit(main())
