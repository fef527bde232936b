"""Shards -> packages of AOTInductor, beside the portable programs.

One package takes any batch. A package for one fixed batch is faster there, and holds the weights once more: it is kept
where it measures enough faster on this machine.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch

from shardline.partition.compile_one import Job, Made
from shardline.partition.compiled import opened, select, this_machine
from shardline.partition.device import choose_device
from shardline.partition.golden import Golden
from shardline.partition.runtime import LoadedShard
from shardline.partition.tensors import instance_axes
from shardline.partition.threads import available_cpus
from shardline.storage.bundle import SHARD_FILE, TARGETS, Bundle, Package, Stage, stage_folder
from shardline.wire.errors import CompileError
from shardline.wire.typed import from_json

FIXED_BATCHES = (1,)
LEAST_GAIN = 1.1  # times as fast as the package for any batch, where a server holds both; less is not worth the memory
_ROUNDS = 7
_LONGEST_REASON = 300  # characters
_TRIAL = """#include <omp.h>
#include <vector>
extern "C" int threads() { return omp_get_max_threads(); }
"""

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Task:
    """One package to be made."""

    stage: Stage
    target: str
    batch: int | None

    @property
    def path(self) -> str:
        return f"compiled/{self.target}/{'any' if self.batch is None else f'batch-{self.batch}'}.pt2"

    def __str__(self) -> str:
        return f"shard {self.stage.index} for {self.target}, {f'batch {self.batch}' if self.batch else 'any batch'}"


def check_targets(targets: Sequence[str]) -> None:
    """Look before anything slow is done: is there what the compiler needs?

    Raises:
        CompileError: an unknown target, no C++ compiler that works, or no GPU.
    """
    for target in targets:
        if target not in TARGETS:
            raise CompileError(f"--compile {target!r}: allowed are {', '.join(TARGETS)}")
    if "cuda" in targets and not torch.cuda.is_available():
        raise CompileError("--compile cuda: this machine has no GPU that torch sees; compile where the shard will run")
    if targets:
        _check_compiler()


def _check_compiler() -> None:
    name = os.environ.get("CXX", "g++")  # what inductor takes
    remedy = "install g++ (Debian and Ubuntu: apt install g++), name another in CXX, or build without --compile"
    if shutil.which(name) is None:
        raise CompileError(f"--compile needs a C++ compiler, and {name} is not on PATH: {remedy}")
    with tempfile.TemporaryDirectory(prefix="shardline-") as folder:
        command = [name, "-x", "c++", "-", "-fopenmp", "-shared", "-fPIC", "-o", f"{folder}/trial.so"]
        done = subprocess.run(command, input=_TRIAL, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CompileError(f"--compile needs a C++ compiler with OpenMP, and {name} fails: {_reason(done)}; {remedy}")


def compile_stages(
    draft: Path, bundle: Bundle, targets: Sequence[str], batches: Sequence[int], say: Progress
) -> tuple[Stage, ...]:
    """Compile every shard of the bundle in the folder `draft`, whose portable programs and golden tensors lie there.

    Args:
        batches: fixed ones to try beside any batch, where a shard's instances can be told apart.

    Returns:
        the stages, each with its packages.

    Raises:
        CompileError: the compiler fails on a shard, in one line.
        BundleError: a package does not give what the portable shard gives.
    """
    tasks = [_Task(stage=stage, target=target, batch=batch)
             for target in targets for stage in bundle.stages for batch in _batches(stage, batches)]  # fmt: skip
    say(f"compiling {len(tasks)} packages")
    packages = dict(_compile_all(draft, tasks, say))
    made = [replace(stage, compiled=tuple(packages[task] for task in tasks if task.stage == stage))
            for stage in bundle.stages]  # fmt: skip
    return tuple(_only_worth_their_memory(draft, bundle, stage, targets, say) for stage in made)


def _batches(stage: Stage, batches: Sequence[int]) -> Iterator[int | None]:
    yield None
    if instance_axes(stage.inputs + stage.outputs) is not None:
        yield from sorted(set(batches))


def _compile_all(draft: Path, tasks: Sequence[_Task], say: Progress) -> Iterator[tuple[_Task, Package]]:
    """As many at once as there are CPUs; the first that fails ends all."""
    with (
        tempfile.TemporaryDirectory(prefix="shardline-") as cache,
        ThreadPoolExecutor(max_workers=min(len(tasks), available_cpus())) as pool,
    ):
        futures = {pool.submit(_compile, draft, task, Path(cache)): task for task in tasks}
        try:
            for done, future in enumerate(as_completed(futures), 1):
                package = future.result()
                say(f"compiled {futures[future]} ({done} of {len(tasks)})")
                yield futures[future], package
        finally:
            pool.shutdown(cancel_futures=True)


def _compile(draft: Path, task: _Task, cache: Path) -> Package:
    folder = draft / stage_folder(task.stage.index)
    out = folder / task.path
    out.parent.mkdir(parents=True, exist_ok=True)
    job = Job(
        shard=str(folder / SHARD_FILE),
        out=str(out),
        target=task.target,
        batch=task.batch,
        threads=torch.get_num_threads(),
        inputs=task.stage.inputs,
    )
    done = subprocess.run(
        [sys.executable, "-m", "shardline.partition.compile_one"],
        input=json.dumps(asdict(job)),
        env=_environment(cache),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode or not out.is_file():
        raise CompileError(f"{task} cannot be compiled: {_reason(done)}; build without --compile")
    made = from_json(Made, done.stdout.splitlines()[-1], error=CompileError)
    here = this_machine()
    return Package(
        path=task.path,
        target=task.target,
        batch=task.batch,
        torch_version=here.torch_version,
        system=here.system,
        machine=here.machine,
        cpu_features=made.cpu_features,
        gpu_architecture=made.gpu_architecture,
        threads=None if task.batch is None or task.target != "cpu" else here.threads,
    )


def _environment(cache: Path) -> Mapping[str, str]:
    """Nothing stays in the user's home, and each process compiles by itself."""
    mine = Path(__file__).resolve().parents[1]
    found = os.environ.get("PYTHONPATH")
    return {
        **os.environ,
        "PYTHONPATH": str(mine) if not found else f"{mine}{os.pathsep}{found}",
        "TORCHINDUCTOR_CACHE_DIR": str(cache),
        "TRITON_CACHE_DIR": str(cache / "triton"),
        "TORCHINDUCTOR_COMPILE_THREADS": "1",
    }


def _reason(done: subprocess.CompletedProcess[str]) -> str:
    """The line in which a compiler, or Python, says what is wrong."""
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    errors = [line for line in lines if "error" in line.lower()]
    return (errors or lines or [f"exit code {done.returncode}"])[-1][:_LONGEST_REASON]


def _only_worth_their_memory(draft: Path, bundle: Bundle, stage: Stage, targets: Sequence[str], say: Progress) -> Stage:
    """The stage without the fixed packages that are not enough faster than the one for any batch.

    Where the bundle's batch is one picture, a server holds the package for that alone: being faster is enough.
    """
    kept = list(stage.compiled)
    least_gain = LEAST_GAIN if bundle.batch > 1 else 1.0
    for target in targets:
        times = _measure(draft, bundle, stage, target)
        for package, (fixed_s, any_s) in times.items():
            gain = any_s / fixed_s
            if gain < least_gain:
                kept.remove(package)
                (draft / stage_folder(stage.index) / package.path).unlink()
            say(
                f"shard {stage.index} on {target}, batch {package.batch}: {fixed_s * 1000:.1f} ms by a package of its "
                f"own, {any_s * 1000:.1f} ms by the one for any batch: {'kept' if gain >= least_gain else 'left out'}"
            )
    return replace(stage, compiled=tuple(kept))


def _measure(draft: Path, bundle: Bundle, stage: Stage, target: str) -> Mapping[Package, tuple[float, float]]:
    """Of each fixed package: its seconds, and those of the one for any batch. The fastest of several runs in turn."""
    folder, device = draft / stage_folder(stage.index), choose_device(target)
    packages = select(stage, device).packages
    golden = Golden.load(folder)
    with ExitStack() as stack:
        shards = {}
        for chosen in (packages[:1], packages):
            module = stack.enter_context(opened(folder, chosen, stage, device))
            shards[len(chosen)] = LoadedShard(bundle, stage, module, device)
            shards[len(chosen)].warm_up(golden)
        alone, all_of_them = shards[1], shards[len(packages)]
        return {
            package: _in_turn(all_of_them, alone, all_of_them.repeated(golden.inputs, package.batch or 1))
            for package in packages[1:]
        }


def _in_turn(one: LoadedShard, other: LoadedShard, inputs: Mapping[str, np.ndarray]) -> tuple[float, float]:
    """The fastest run of each, in seconds; what else the machine does only adds."""
    fastest = [float("inf"), float("inf")]
    for _ in range(_ROUNDS):
        for place, shard in enumerate((one, other)):
            start = time.perf_counter()
            shard.run_joined([inputs])
            fastest[place] = min(fastest[place], time.perf_counter() - start)
    return fastest[0], fastest[1]
