"""Compile one shard in a process of its own: `python -m shardline.partition.compile_one`.

A Job as JSON on standard input, a Made as JSON on standard output.

A process of its own: the compiler's caches, its memory and its settings end with it, and several run side by side.
"""

import json
import re
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.export import ExportedProgram

from shardline.partition.device import choose_device, gpu_architecture, move
from shardline.partition.layout import to_torch
from shardline.partition.program import runnable
from shardline.partition.runtime import load_program
from shardline.storage.bundle import TensorSpec
from shardline.wire.errors import CompileError
from shardline.wire.frame import named_dtype
from shardline.wire.typed import from_json

_EXAMPLE_BATCH = 2  # of a package for any batch
# march="": with the CPU features that are recorded and no others; else the compiler takes all that the builder has
# dynamic_threads: as many as torch has when the shard runs, not as many as it had here
_SETTINGS = {
    "freezing": True,
    "cpp.march": "",
    "cpp.dynamic_threads": True,
    "aot_inductor.enable_line_tables": False,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """`shard` is the portable program, `out` the package to be; `batch` is null for any.

    `threads` are torch's: where the batch is fixed, oneDNN packs the weights for that many, and with another number it
    packs them anew in every run.
    """

    shard: str
    out: str
    target: str
    batch: int | None
    threads: int
    inputs: tuple[TensorSpec, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What the package needs: the CPU features that the compiler was told to use, and the GPU architecture."""

    cpu_features: tuple[str, ...]
    gpu_architecture: str | None


def compile_one(job: Job) -> Made:
    """Compile; the compiler raises what it likes."""
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
    return Made(cpu_features=_cpu_features(), gpu_architecture=gpu_architecture(device))


def _example(spec: TensorSpec, batch: int) -> torch.Tensor:
    """Zeros with the strides that the shard's input has; the compiler looks at nothing else."""
    return to_torch(np.zeros(spec.frame_shape_for(batch), named_dtype(spec.dtype)), spec)


def _fixed(program: ExportedProgram, examples: Sequence[torch.Tensor]) -> ExportedProgram:
    """The program for the examples' batch alone."""
    fixed: ExportedProgram = torch.export.export(runnable(program), tuple(examples), strict=False)
    return fixed


def _cpu_features() -> tuple[str, ...]:
    """The features in the flags that inductor gives to the compiler, named as torch.cpu.get_capabilities() does."""
    from torch._inductor.cpu_vec_isa import pick_vec_isa

    isa: Any = pick_vec_isa()
    flags = isa.build_arch_flags() if isa else ""
    words = re.findall(r"-m(?!arch)(\S+)|\+(\w+)", flags)
    return tuple(sorted({feature_of(flag or extension) for flag, extension in words}))


def feature_of(flag: str) -> str:
    """'avx512bf16' -> 'avx512_bf16', 'amx-tile' -> 'amx_tile', 'fma' -> 'fma3'; others are what they are called."""
    name = re.sub(r"^avx512(?=\w)", "avx512_", flag.replace("-", "_"))
    return "fma3" if name == "fma" else name


def main() -> int:
    job = from_json(Job, sys.stdin.read(), error=CompileError)
    print(json.dumps(asdict(compile_one(job))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
