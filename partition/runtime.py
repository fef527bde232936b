"""Load one shard and run it: numpy arrays in, numpy arrays out, as frames carry them.

On a GPU a shard has one stream of its own: the copy in, the program and the copy out are queued behind each other,
through pinned host memory, and the host waits once, at the end.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as safetensors_bytes
from torch.utils._pytree import tree_leaves

from shardline.partition.archive import check_torch_version, load_program
from shardline.partition.compare import Outputs, largest_value, max_abs_difference, norm_error
from shardline.partition.compiled import Compiled, opened, select
from shardline.partition.device import CPU, Module, move
from shardline.partition.program import one_line, runnable
from shardline.partition.sampling import sample_inputs
from shardline.partition.tensors import (
    along,
    as_numpy,
    as_torch,
    check_tensors,
    instance_axes,
    instances,
    join,
    repeats,
)
from shardline.storage.bundle import GOLDEN_FILE, SHARD_FILE, Bundle, Stage, TensorSpec
from shardline.storage.bundle_folder import read_stage
from shardline.tasks.registry import task_code
from shardline.wire.errors import BundleError, ShardlineError
from shardline.wire.frame import Array, named_dtype

# Another machine rounds differently; a wrong shard is far off. In fp32 each value is compared, relative to the largest
# golden value; rounded values by their norm (docs/adr/0054-rounded-tensors-are-compared-by-their-norm.md).
_LARGEST_ERROR = 1e-3
_NORM_ERRORS = {"fp16": 0.05, "bf16": 0.25}

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Golden:
    """One input of a stage and the outputs that the stage gave for it when the bundle was built.

    Arrays have the dtypes of the stage's specs and their shapes in memory order, for a batch of 1.
    """

    inputs: Mapping[str, np.ndarray]
    outputs: Mapping[str, np.ndarray]

    def save(self, folder: Path) -> None:
        """Write both into the stage's folder."""
        tensors = {f"in.{name}": value for name, value in self.inputs.items()}
        tensors |= {f"out.{name}": value for name, value in self.outputs.items()}
        contiguous = {name: as_torch(np.array(value, order="C")) for name, value in tensors.items()}
        (folder / GOLDEN_FILE).write_bytes(safetensors_bytes(contiguous))

    @classmethod
    def load(cls, folder: Path) -> "Golden":
        """Read both from the stage's folder.

        Raises:
            BundleError: the file is missing or damaged.
        """
        try:
            tensors = {name: as_numpy(value) for name, value in load_file(folder / GOLDEN_FILE).items()}
        except (SafetensorError, OSError) as exc:
            raise BundleError(f"{GOLDEN_FILE} cannot be read ({exc}): push or build the bundle again") from exc
        return cls(
            {name.removeprefix("in."): value for name, value in tensors.items() if name.startswith("in.")},
            {name.removeprefix("out."): value for name, value in tensors.items() if name.startswith("out.")},
        )


class Executor(Protocol):
    """Runs a shard's module on its device, with the copies there and back."""

    pinned: bool  # whether inputs should lie in pinned memory

    def run(self, module: Module, inputs: Sequence[torch.Tensor], specs: Sequence[TensorSpec]) -> list[Array]:
        """Run the module on CPU tensors, [batch, …] each, and return a frame's arrays with the dtypes of `specs`."""


def executor_on(device: torch.device) -> Executor:
    """Create the executor for the CPU or for one GPU."""
    return _CpuExecutor() if device.type == "cpu" else _GpuExecutor(device)


class _CpuExecutor:
    pinned = False

    def run(self, module: Module, inputs: Sequence[torch.Tensor], specs: Sequence[TensorSpec]) -> list[Array]:
        with torch.inference_mode():
            return [as_numpy(value) for value in _contiguous(module(*inputs), specs)]


class _GpuExecutor:
    pinned = True

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device)

    def run(self, module: Module, inputs: Sequence[torch.Tensor], specs: Sequence[TensorSpec]) -> list[Array]:
        with torch.inference_mode(), torch.cuda.stream(self._stream):
            there = [value.to(self._device, non_blocking=True) for value in inputs]
            here = [
                torch.empty(value.shape, dtype=value.dtype, pin_memory=True).copy_(value, non_blocking=True)
                for value in _contiguous(module(*there), specs)
            ]
            self._stream.synchronize()
        return [as_numpy(value) for value in here]


def _contiguous(values: object, specs: Sequence[TensorSpec]) -> Iterable[torch.Tensor]:
    """Yield the program's outputs with their dimensions in the order of the whole's memory, without holes."""
    for value, spec in zip(tree_leaves(values), specs, strict=True):
        yield value.permute(spec.dim_order).contiguous()


class LoadedShard:
    """One stage's program, portable or compiled, ready to run.

    Arrays are those of frames: the dtypes of the stage's specs, and their shapes in memory order, `[batch, …]` for
    most.
    """

    def __init__(self, bundle: Bundle, stage: Stage, module: Module, device: torch.device = CPU) -> None:
        self.bundle = bundle
        self.digest = bundle.digest
        self.stage = stage
        self._module = module
        self._executor = executor_on(device)
        self._axes = instance_axes(stage.inputs + stage.outputs)

    @property
    def is_last(self) -> bool:
        return self.stage.index == len(self.bundle.stages) - 1

    @property
    def is_compiled(self) -> bool:
        return isinstance(self._module, Compiled)

    @property
    def can_split(self) -> bool:
        """True where a frame can be split into its instances, so that each can be run alone."""
        return self._axes is not None

    def can_join(self, golden: Golden) -> bool:
        """True where several frames can run as one batch without an instance changing another's outputs.

        This is tried on the golden input, joined with zeros: nothing in a program says that it never reduces over the
        batch.
        """
        if self._axes is None or any(repeats(spec) for spec in self.stage.inputs):
            return False
        zeros = {name: np.zeros_like(value) for name, value in golden.inputs.items()}
        outputs = self.run_joined([golden.inputs, zeros])[0]
        found, expected = self._comparable(outputs), self._comparable(golden.outputs)
        return all(self._error(found[name], value) <= self._allowed_error for name, value in expected.items())

    def instances(self, tensors: Mapping[str, np.ndarray]) -> int:
        """Number of instances in a frame's tensors, [batch, …] each; 1 where no shape depends on the batch."""
        return instances(tensors, self.stage.inputs)

    def check(self, tensors: Mapping[str, np.ndarray]) -> None:
        """Compare the names, dtypes and shapes of one frame's tensors, [batch, …] each, with the stage's inputs.

        Raises:
            FrameError: a tensor is missing, unknown, of another dtype or shape, or holds NaN.
        """
        check_tensors(tensors, self.stage.inputs)

    def run(self, tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run the shard on one frame's tensors, [batch, …] each, with the dtypes of the stage's specs.

        Raises:
            FrameError: see `check`.
        """
        self.check(tensors)
        return self.run_joined([tensors])[0]

    def split(self, tensors: Mapping[str, np.ndarray], start: int, stop: int) -> Mapping[str, np.ndarray]:
        """Views of the instances `start` to `stop` of a frame's tensors, [batch, …] each; the shard `can_split`."""
        assert self._axes is not None
        return {name: value[along(self._axes[name], start, stop)] for name, value in tensors.items()}

    def concatenate(self, parts: Sequence[Mapping[str, np.ndarray]]) -> Mapping[str, np.ndarray]:
        """Concatenate the outputs of a split frame, [batch, …] each, along the batch."""
        if len(parts) == 1:
            return parts[0]
        assert self._axes is not None
        return {name: np.concatenate([part[name] for part in parts], self._axes[name]) for name in parts[0]}

    def run_joined(self, frames: Sequence[Mapping[str, np.ndarray]]) -> list[dict[str, np.ndarray]]:
        """Run the checked tensors of several frames as one batch, and return the outputs of each frame.

        Tensors are [batch, …] with the dtypes of the stage's specs, each frame with a batch of its own. Outputs are
        views of the joined outputs. Pass several frames only to a shard that `can_join` them.
        """
        axes = self._axes or {}
        inputs = [
            join([frame[spec.name] for frame in frames], spec, axes.get(spec.name, 0), pinned=self._executor.pinned)
            for spec in self.stage.inputs
        ]
        values = self._executor.run(self._module, inputs, self.stage.outputs)
        outputs = {spec.name: value for spec, value in zip(self.stage.outputs, values, strict=True)}
        self._check_rows(outputs, sum(self.instances(frame) for frame in frames))
        if len(frames) == 1:
            return [outputs]
        name = self.stage.inputs[0].name
        ends = accumulate((frame[name].shape[axes[name]] for frame in frames), initial=0)
        return [
            {name: value[along(axes[name], start, stop)] for name, value in outputs.items()}
            for start, stop in pairwise(ends)
        ]

    def _check_rows(self, outputs: Mapping[str, np.ndarray], batch: int) -> None:
        """Check the outputs' shapes: a program that drops rows would give one picture's answer to another."""
        for spec in self.stage.outputs:
            found, expected = outputs[spec.name].shape, spec.frame_shape_for(batch)
            if found != expected:
                raise ShardlineError(
                    f"stage {self.stage.index} gives {spec.name} the shape {list(found)} for a batch of {batch}, "
                    f"expected is {list(expected)}: the model adds or drops rows; build another one"
                )

    def warm_up(self, golden: Golden) -> None:
        """Run the golden input, through each package of a compiled shard, and compare with the golden outputs.

        Raises:
            BundleError: the outputs are far off: this machine or torch does not compute what the builder's did.
            FrameError: the golden tensors are not those of this stage.
        """
        check_tensors(golden.outputs, self.stage.outputs)
        for copies in self._batches_to_warm():
            inputs = self.repeated(golden.inputs, copies)
            self.check(inputs)
            expected = self._comparable(self.repeated(golden.outputs, copies))
            for name, value in self._comparable(self.run_joined([inputs])[0]).items():
                self._compare(name, value, expected[name])

    def _comparable(self, tensors: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        """Values of a stage's outputs that change little where another machine rounds differently."""
        task = self.bundle.task
        return task_code(task.name).comparable(tensors, task.options) if self.is_last else tensors

    def _batches_to_warm(self) -> tuple[int, ...]:
        """One batch size per package; the package for any batch gets the first size that has no package of its own."""
        fixed = self._module.batches if isinstance(self._module, Compiled) and self.can_split else ()
        if isinstance(self._module, Compiled) and not self._module.takes_any:
            return fixed
        free = next(batch for batch in range(1, len(fixed) + 2) if batch not in fixed)
        return (*fixed, free)

    def repeated(self, tensors: Mapping[str, np.ndarray], copies: int) -> Mapping[str, np.ndarray]:
        """Repeat golden arrays, [1, …] each, to a batch of `copies`."""
        if copies == 1:
            return tensors
        assert self._axes is not None
        return {name: np.concatenate([value] * copies, self._axes[name]) for name, value in tensors.items()}

    def _compare(self, name: str, found: np.ndarray, expected: np.ndarray) -> None:
        error = self._error(found, expected)
        if not error <= self._allowed_error:
            raise BundleError(
                f"stage {self.stage.index}{' compiled' if self.is_compiled else ''} gives {name} with a relative "
                f"error of {error:.3g} from the golden output; in {self.bundle.precision} {self._allowed_error:g} is "
                f"allowed: {self._remedy()}"
            )

    def _error(self, found: np.ndarray, expected: np.ndarray) -> float:
        if self.bundle.precision in _NORM_ERRORS:
            return norm_error(found, expected)
        return max_abs_difference(found, expected) / largest_value(expected)

    @property
    def _allowed_error(self) -> float:
        return _NORM_ERRORS.get(self.bundle.precision, _LARGEST_ERROR)

    def _remedy(self) -> str:
        """What to do about outputs that are far off."""
        if torch.__version__.partition("+")[0] != self.bundle.torch_version:
            return f"build the bundle with this torch ({torch.__version__})"
        return "build the bundle again on this machine" + (", without --compile" if self.is_compiled else "")


def chain_inputs(shard: LoadedShard, pixels: np.ndarray) -> Outputs:
    """Inputs to run the first shard with: pixels, uint8 [batch, channels, h, w], and samples [batch, …] of the others.

    They are those that `shardline.partition.program.program_inputs` runs the whole with.
    """
    first, *others = shard.stage.inputs
    types = [(named_dtype(spec.dtype), spec.shape_for(1)[1:]) for spec in others]
    return {first.name: pixels, **dict(zip((spec.name for spec in others), sample_inputs(pixels, types), strict=True))}


def run_chain(shards: Sequence[LoadedShard], pixels: np.ndarray) -> Outputs:
    """Run uint8 [batch, channels, h, w] through all shards and return the last one's outputs, [batch, …] each."""
    tensors = chain_inputs(shards[0], pixels)
    for shard in shards:
        tensors = shard.run(tensors)
    return tensors


def load_shard(
    folder: Path,
    digest: str | None = None,
    device: torch.device = CPU,
    program: str = "auto",
    *,
    only_batch: int | None = None,
) -> LoadedShard:
    """Load the shard in a stage's folder, after checking every digest, and warm it up.

    Args:
        digest: the bundle's digest as the manifest names it.
        device: where the shard computes.
        program: "auto" takes the compiled packages where this machine has everything that they need, else the portable
            program; "portable" and "compiled" take nothing else.
        only_batch: the caller splits frames and runs no other batch: packages for others would only hold memory.

    Raises:
        BundleError: naming what is missing, altered, of another bundle, of another torch version or unsafe to load.
    """
    bundle, stage = read_stage(folder, digest)
    packages, why_not = select(stage, device) if program != "portable" else ((), "as requested")
    if packages and only_batch is not None and instance_axes(stage.inputs + stage.outputs) is not None:
        packages = tuple(package for package in packages if package.batch == only_batch) or packages[:1]
    if packages:
        taken = ", ".join(package.path for package in packages)
        logger.info("stage %d runs %s%s", stage.index, taken, why_not and f", for {why_not}")
        with opened(folder, packages, stage, device) as compiled:
            return _warmed(LoadedShard(bundle, stage, compiled, device), folder)
    if program == "compiled":
        raise BundleError(
            f"stage {stage.index} has no compiled package for this machine: {why_not}; build it with --compile here, "
            "or choose --program auto"
        )
    check_torch_version(bundle.torch_version)
    logger.info("stage %d runs %s, no compiled package: %s", stage.index, SHARD_FILE, why_not)
    portable = load_program(folder / SHARD_FILE)
    return _warmed(LoadedShard(bundle, stage, _on(portable, device, stage), device), folder)


def _on(program: torch.export.ExportedProgram, device: torch.device, stage: Stage) -> Module:
    try:
        return runnable(move(program, device))
    except Exception as exc:  # the program is not ours: torch raises whatever it likes
        raise BundleError(f"stage {stage.index} cannot be moved to {device}: {one_line(exc)}") from exc


def _warmed(shard: LoadedShard, folder: Path) -> LoadedShard:
    try:
        shard.warm_up(Golden.load(folder))
    except BundleError:
        raise
    except Exception as exc:  # the program is not ours: it raises whatever it likes
        raise BundleError(
            f"stage {shard.stage.index} does not run its golden input ({one_line(exc)}): build the bundle again"
        ) from exc
    return shard
