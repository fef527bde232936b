"""Load one shard and run it: numpy in, numpy out, as frames carry them."""

import logging
import math
from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise
from pathlib import Path

import numpy as np
import torch

from shardline.partition.archive import check_archive, needs_torchvision
from shardline.partition.compiled import Compiled, opened, select
from shardline.partition.device import CPU, Module, lane_to, move
from shardline.partition.golden import Golden
from shardline.partition.layout import along, join
from shardline.partition.program import one_line, runnable
from shardline.partition.tensors import check_tensors, instance_axes, instances, repeats
from shardline.storage.bundle import SHARD_FILE, Bundle, Stage
from shardline.storage.bundle_folder import read_stage
from shardline.tasks.registry import task_code
from shardline.wire.errors import BundleError

# Of the largest golden value; another machine rounds otherwise, a wrong shard is far off.
_GOLDEN_TOLERANCE = {"fp32": 1e-3, "fp16": 1e-2, "bf16": 5e-2}

logger = logging.getLogger(__name__)


class LoadedShard:
    """One stage's program, portable or compiled, ready to run."""

    def __init__(self, bundle: Bundle, stage: Stage, module: Module, device: torch.device = CPU) -> None:
        self.bundle = bundle
        self.digest = bundle.digest
        self.stage = stage
        self._module = module
        self._lane = lane_to(device)
        self._axes = instance_axes(stage.inputs + stage.outputs)

    @property
    def is_last(self) -> bool:
        return self.stage.index == len(self.bundle.stages) - 1

    @property
    def is_compiled(self) -> bool:
        return isinstance(self._module, Compiled)

    @property
    def can_part(self) -> bool:
        """Can a frame's instances be told apart, and so be run one by one?"""
        return self._axes is not None

    def can_join(self, golden: Golden) -> bool:
        """Can several frames be run as one batch without an instance that changes another's outputs?

        Tried on the golden input, with zeros beside it: nothing in a program says that it never reduces over the batch.
        """
        if self._axes is None or any(repeats(spec) for spec in self.stage.inputs):
            return False
        zeros = {name: np.zeros_like(value) for name, value in golden.inputs.items()}
        outputs = self.run_joined([golden.inputs, zeros])[0]
        found, expected = self._comparable(outputs), self._comparable(golden.outputs)
        return all(_off_by(found[name], value) <= self._allowed(value) for name, value in expected.items())

    def instances(self, tensors: Mapping[str, np.ndarray]) -> int:
        """How many instances a frame's tensors hold; 1 where none of them shows it."""
        return instances(tensors, self.stage.inputs)

    def check(self, tensors: Mapping[str, np.ndarray]) -> None:
        """Check one frame's tensors against the stage's inputs.

        Raises:
            FrameError: a tensor is missing, unknown, of another dtype or shape, or holds NaN.
        """
        check_tensors(tensors, self.stage.inputs)

    def run(self, tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run the shard on one frame's tensors; shapes and dtypes are those of the stage's specs.

        Raises:
            FrameError: see `check`.
        """
        self.check(tensors)
        return self.run_joined([tensors])[0]

    def part(self, tensors: Mapping[str, np.ndarray], start: int, stop: int) -> Mapping[str, np.ndarray]:
        """The instances `start` to `stop` of a frame's tensors, as views. The shard must be one that `can_part`."""
        assert self._axes is not None
        return {name: value[along(self._axes[name], start, stop)] for name, value in tensors.items()}

    def unpart(self, parts: Sequence[Mapping[str, np.ndarray]]) -> Mapping[str, np.ndarray]:
        """The outputs of a frame's parts, put together again."""
        if len(parts) == 1:
            return parts[0]
        assert self._axes is not None
        return {name: np.concatenate([part[name] for part in parts], self._axes[name]) for name in parts[0]}

    def run_joined(self, frames: Sequence[Mapping[str, np.ndarray]]) -> list[dict[str, np.ndarray]]:
        """Run the checked tensors of several frames as one batch; -> each one's own outputs, views of the batch's.

        Several only where the shard `can_join` them.
        """
        axes = self._axes or {}
        inputs = [
            join([frame[spec.name] for frame in frames], spec, axes.get(spec.name, 0), pinned=self._lane.pinned)
            for spec in self.stage.inputs
        ]
        values = self._lane.run(self._module, inputs, self.stage.outputs)
        outputs = {spec.name: value for spec, value in zip(self.stage.outputs, values, strict=True)}
        if len(frames) == 1:
            return [outputs]
        name = self.stage.inputs[0].name
        ends = accumulate((frame[name].shape[axes[name]] for frame in frames), initial=0)
        return [
            {name: value[along(axes[name], start, stop)] for name, value in outputs.items()}
            for start, stop in pairwise(ends)
        ]

    def warm_up(self, golden: Golden) -> None:
        """Run the golden input, through each package of a compiled shard, and compare with what it gave when built.

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
        """What of a stage's outputs moves little where another machine rounds otherwise."""
        return task_code(self.bundle.task.name).comparable(tensors) if self.is_last else tensors

    def _batches_to_warm(self) -> tuple[int, ...]:
        """One that each package takes; the package for any batch takes the first that has none of its own."""
        fixed = self._module.batches if isinstance(self._module, Compiled) and self.can_part else ()
        if isinstance(self._module, Compiled) and not self._module.takes_any:
            return fixed
        free = next(batch for batch in range(1, len(fixed) + 2) if batch not in fixed)
        return (*fixed, free)

    def repeated(self, tensors: Mapping[str, np.ndarray], copies: int) -> Mapping[str, np.ndarray]:
        """The golden instance, as often as a batch holds it."""
        if copies == 1:
            return tensors
        assert self._axes is not None
        return {name: np.concatenate([value] * copies, self._axes[name]) for name, value in tensors.items()}

    def _compare(self, name: str, found: np.ndarray, expected: np.ndarray) -> None:
        difference = _off_by(found, expected)
        if not difference <= self._allowed(expected):
            raise BundleError(
                f"stage {self.stage.index}{' compiled' if self.is_compiled else ''} gives {name} off by "
                f"{difference:.3g} from the golden output (largest value {_largest(expected):.3g}): build the bundle "
                f"with this torch ({torch.__version__})"
            )

    def _allowed(self, expected: np.ndarray) -> float:
        return _GOLDEN_TOLERANCE[self.bundle.precision] * _largest(expected)


def _off_by(found: np.ndarray, expected: np.ndarray) -> float:
    if found.shape != expected.shape:
        return math.inf
    return float(np.abs(found.astype(np.float64) - expected.astype(np.float64)).max(initial=0.0))


def _largest(expected: np.ndarray) -> float:
    return float(np.abs(expected).max(initial=0.0)) or 1.0


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
        device: where it computes.
        program: "auto" takes the compiled packages where all that they need is here, else the portable program;
            "portable" and "compiled" take nothing else.
        only_batch: the caller parts frames and runs no other batch: packages for others would only hold memory.

    Raises:
        BundleError: naming what is missing, altered, of another bundle, of another torch version or unsafe to load.
    """
    bundle, stage = read_stage(folder, digest)
    packages, why_not = select(stage, device) if program != "portable" else ((), "as asked")
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
            "or take --program auto"
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


def load_program(path: Path) -> torch.export.ExportedProgram:
    """Load an exported program whose archive `check_archive` lets pass.

    Not by `torch.export.load`, which tries an older format, with pickles, where this one fails.

    Raises:
        BundleError: it does not, or cannot be loaded.
    """
    from torch.export.pt2_archive._package import load_pt2  # over a second, which a compiled shard starts without

    check_archive(path)
    if needs_torchvision(path):
        import torchvision  # noqa: F401  it registers its operations; a second of start for those that have none
    try:
        program: torch.export.ExportedProgram = load_pt2(str(path)).exported_programs["model"]
        program._guards_code = []  # source code out of the archive
        return program
    except Exception as exc:  # torch's loader raises whatever its many parsers raise
        raise BundleError(f"{path.name} cannot be loaded by torch {torch.__version__}: {one_line(exc)}") from exc


def check_torch_version(built_with: str) -> None:
    """A shard runs on the torch release (major.minor) that made it.

    Raises:
        BundleError: another release is installed.
    """
    if _release(built_with) != _release(torch.__version__):
        raise BundleError(
            f"the shard was built with torch {built_with}, here is {torch.__version__}; torch {_release(built_with)} "
            "is allowed: use the image of that release or build the bundle again"
        )


def _release(version: str) -> str:
    return ".".join(version.split(".")[:2])
