"""Compile shards to AOTInductor packages, which lie beside the portable programs.

One package takes any batch. A package for one fixed batch is faster there, and holds the weights once more: it is kept
where it measures enough faster on this machine.

`python -m shardline.partition.compiling` compiles one package: a CompileJob as JSON on standard input, a CompileResult
as JSON on standard output. Each package is compiled in a process of its own, so that the compiler's caches, memory and
settings end with it, and several run side by side.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.export import ExportedProgram

from shardline.partition.archive import load_program
from shardline.partition.compiled import opened, select, this_machine
from shardline.partition.device import available_cpus, choose_device, gpu_architecture, move
from shardline.partition.program import Progress, import_root, runnable
from shardline.partition.runtime import Golden, LoadedShard
from shardline.partition.tensors import instance_axes, to_torch
from shardline.storage.bundle import SHARD_FILE, TARGETS, Bundle, Package, Stage, TensorSpec, stage_folder
from shardline.wire.errors import CompileError
from shardline.wire.frame import named_dtype
from shardline.wire.typed import from_json

LEAST_GAIN = 1.1  # speed-up over the package for any batch, where a server holds both; less is not worth the memory
_ROUNDS = 7
_LONGEST_REASON = 300  # characters
_TRIAL = """#include <omp.h>
#include <vector>
extern "C" int threads() { return omp_get_max_threads(); }
"""


_EXAMPLE_BATCH = 2  # of a package for any batch
# march="": use the recorded CPU features only; otherwise the compiler uses all that the builder's CPU has
# dynamic_threads: use torch's threads when the shard runs, not their number at build time
_SETTINGS = {
    "freezing": True,
    "cpp.march": "",
    "cpp.dynamic_threads": True,
    "aot_inductor.enable_line_tables": False,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _PackageTask:
    """One package to compile."""

    stage: Stage
    target: str
    batch: int | None

    @property
    def path(self) -> str:
        return f"compiled/{self.target}/{'any' if self.batch is None else f'batch-{self.batch}'}.pt2"

    def __str__(self) -> str:
        return f"shard {self.stage.index} for {self.target}, {f'batch {self.batch}' if self.batch else 'any batch'}"


def check_targets(targets: Sequence[str]) -> None:
    """Check, before anything slow is done, that this machine has what the compiler needs.

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
    draft: Path, bundle: Bundle, targets: Sequence[str], batches: Sequence[int], progress: Progress
) -> tuple[Stage, ...]:
    """Compile every shard of the bundle in the folder `draft`, whose portable programs and golden tensors lie there.

    Args:
        batches: fixed batches to try as well as any batch, where a frame can be split into its instances.

    Returns:
        The stages, each with its packages.

    Raises:
        CompileError: the compiler fails on a shard, in one line.
        BundleError: a package's outputs are far from the portable shard's.
    """
    tasks = [_PackageTask(stage=stage, target=target, batch=batch)
             for target in targets for stage in bundle.stages for batch in _batches(stage, batches)]  # fmt: skip
    progress(f"compiling {len(tasks)} packages")
    packages = dict(_compile_all(draft, tasks, progress))
    made = [replace(stage, compiled=tuple(packages[task] for task in tasks if task.stage == stage))
            for stage in bundle.stages]  # fmt: skip
    return tuple(_without_slow_packages(draft, bundle, stage, targets, progress) for stage in made)


def _batches(stage: Stage, batches: Sequence[int]) -> Iterator[int | None]:
    yield None
    if instance_axes(stage.inputs + stage.outputs) is not None:
        yield from sorted(set(batches))


def _compile_all(
    draft: Path, tasks: Sequence[_PackageTask], progress: Progress
) -> Iterator[tuple[_PackageTask, Package]]:
    """Compile as many packages at once as there are CPUs; the first failure ends all."""
    with (
        tempfile.TemporaryDirectory(prefix="shardline-") as cache,
        ThreadPoolExecutor(max_workers=min(len(tasks), available_cpus())) as pool,
    ):
        futures = {pool.submit(_compile, draft, task, Path(cache)): task for task in tasks}
        try:
            for done, future in enumerate(as_completed(futures), 1):
                package = future.result()
                progress(f"compiled {futures[future]} ({done} of {len(tasks)})")
                yield futures[future], package
        finally:
            pool.shutdown(cancel_futures=True)


def _compile(draft: Path, task: _PackageTask, cache: Path) -> Package:
    folder = draft / stage_folder(task.stage.index)
    out = folder / task.path
    out.parent.mkdir(parents=True, exist_ok=True)
    job = CompileJob(
        shard=str(folder / SHARD_FILE),
        out=str(out),
        target=task.target,
        batch=task.batch,
        threads=torch.get_num_threads(),
        inputs=task.stage.inputs,
    )
    done = subprocess.run(
        [sys.executable, "-m", "shardline.partition.compiling"],
        input=json.dumps(asdict(job)),
        env=_environment(cache),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode or not out.is_file():
        raise CompileError(f"{task} cannot be compiled: {_reason(done)}; build without --compile")
    made = from_json(CompileResult, done.stdout.splitlines()[-1], error=CompileError)
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
    """Environment of a compiler process: its caches stay out of the user's home, and it compiles in one process."""
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, [import_root(), os.environ.get("PYTHONPATH")])),
        "TORCHINDUCTOR_CACHE_DIR": str(cache),
        "TRITON_CACHE_DIR": str(cache / "triton"),
        "TORCHINDUCTOR_COMPILE_THREADS": "1",
    }


def _reason(done: subprocess.CompletedProcess[str]) -> str:
    """Line of standard error with the reason why a compiler, or Python, failed."""
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    errors = [line for line in lines if "error" in line.lower()]
    return (errors or lines or [f"exit code {done.returncode}"])[-1][:_LONGEST_REASON]


def _without_slow_packages(
    draft: Path, bundle: Bundle, stage: Stage, targets: Sequence[str], progress: Progress
) -> Stage:
    """Remove the packages for a fixed batch that are not enough faster than the package for any batch.

    Where the bundle's batch is one picture, a server holds only that package, so being faster is enough.
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
            progress(
                f"shard {stage.index} on {target}, batch {package.batch}: {fixed_s * 1000:.1f} ms by its own package, "
                f"{any_s * 1000:.1f} ms by the package for any batch: {'kept' if gain >= least_gain else 'left out'}"
            )
    return replace(stage, compiled=tuple(kept))


def _measure(draft: Path, bundle: Bundle, stage: Stage, target: str) -> Mapping[Package, tuple[float, float]]:
    """Measure each package for a fixed batch against that for any batch: the fastest of several runs, in seconds."""
    folder, device = draft / stage_folder(stage.index), choose_device(target)
    packages = select(stage, device).packages
    golden = Golden.load(folder)
    with ExitStack() as stack:
        shards = {}
        for chosen in (packages[:1], packages):
            module = stack.enter_context(opened(folder, chosen, stage, device))
            shards[len(chosen)] = LoadedShard(bundle, stage, module, device)
            shards[len(chosen)].warm_up(golden)
        general, fixed = shards[1], shards[len(packages)]
        return {
            package: _alternate(fixed, general, fixed.repeated(golden.inputs, package.batch or 1))
            for package in packages[1:]
        }


def _alternate(fixed: LoadedShard, general: LoadedShard, inputs: Mapping[str, np.ndarray]) -> tuple[float, float]:
    """Run both shards in turn and return the fastest run of each, in seconds; other load on the machine only adds."""
    fastest = [float("inf"), float("inf")]
    for _ in range(_ROUNDS):
        for index, shard in enumerate((fixed, general)):
            start = time.perf_counter()
            shard.run_joined([inputs])
            fastest[index] = min(fastest[index], time.perf_counter() - start)
    return fastest[0], fastest[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class CompileJob:
    """One package to compile from the portable program `shard` to the file `out`; `batch` is null for any batch.

    `threads` are torch's: where the batch is fixed, oneDNN packs the weights for this number, and with another number
    it packs them again in every run.
    """

    shard: str
    out: str
    target: str
    batch: int | None
    threads: int
    inputs: tuple[TensorSpec, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CompileResult:
    """Requirements of a compiled package: the CPU features that the compiler may use, and the GPU architecture."""

    cpu_features: tuple[str, ...]
    gpu_architecture: str | None


def compile_one(job: CompileJob) -> CompileResult:
    """Compile one package in this process; the compiler raises any exception."""
    from torch._inductor import aoti_compile_and_package

    torch.set_num_threads(job.threads)
    device = choose_device(job.target)
    program = move(load_program(Path(job.shard)), device)
    examples = tuple(_example(spec, job.batch or _EXAMPLE_BATCH).to(device) for spec in job.inputs)
    with torch.no_grad():
        if job.batch is None:
            program._example_inputs = (examples, {})
        else:
            program = _fixed(program, examples)
        aoti_compile_and_package(program, package_path=job.out, inductor_configs=_SETTINGS)
    return CompileResult(cpu_features=_cpu_features(), gpu_architecture=gpu_architecture(device))


def _example(spec: TensorSpec, batch: int) -> torch.Tensor:
    """Zeros of the shape, dtype and strides of the shard's input; the compiler reads nothing else."""
    return to_torch(np.zeros(spec.frame_shape_for(batch), named_dtype(spec.dtype)), spec)


def _fixed(program: ExportedProgram, examples: Sequence[torch.Tensor]) -> ExportedProgram:
    """Specialise the program to the batch of the examples, which have the shapes and dtypes of its inputs."""
    fixed: ExportedProgram = torch.export.export(runnable(program), tuple(examples), strict=False)
    return fixed


def _cpu_features() -> tuple[str, ...]:
    """CPU features in the flags that inductor passes to the compiler, as torch.cpu.get_capabilities() names them."""
    from torch._inductor.cpu_vec_isa import pick_vec_isa

    isa: Any = pick_vec_isa()
    flags = isa.build_arch_flags() if isa else ""
    words = re.findall(r"-m(?!arch)(\S+)|\+(\w+)", flags)
    return tuple(sorted({feature_of(flag or extension) for flag, extension in words}))


def feature_of(flag: str) -> str:
    """Name of a compiler flag in torch: 'avx512bf16' -> 'avx512_bf16', 'amx-tile' -> 'amx_tile', 'fma' -> 'fma3'."""
    name = re.sub(r"^avx512(?=\w)", "avx512_", flag.replace("-", "_"))
    return "fma3" if name == "fma" else name


def main() -> int:
    job = from_json(CompileJob, sys.stdin.read(), error=CompileError)
    print(json.dumps(asdict(compile_one(job))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
