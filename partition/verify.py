"""Verify a bundle: compare the chain of shards with the whole, at every cut and at the end.

Portable shards in fp32 run as the whole does, eagerly in this process, with the same threads and batch, and every
tensor between two shards goes through a frame: the two are equal to the bit, or something is wrong. Shards in another
precision, and compiled ones, are compared at the end, within the tolerance that bundle.json states.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.export import ExportedProgram

from shardline.partition.archive import load_program
from shardline.partition.compare import Agreement, Outputs, max_abs_difference
from shardline.partition.compiled import select
from shardline.partition.device import CPU
from shardline.partition.program import node_values
from shardline.partition.runtime import LoadedShard, chain_inputs, load_shard
from shardline.partition.tensors import to_numpy
from shardline.storage.bundle import WHOLE_FILE, TensorSpec, Tolerance, stage_folder
from shardline.storage.bundle_folder import open_bundle
from shardline.tasks.registry import task_code
from shardline.wire.errors import BundleError
from shardline.wire.frame import Frame, decode, encode


@dataclass(slots=True, kw_only=True)
class CutReport:
    """Comparison of the tensors at one cut. Differences are absolute, in the tensors' own units."""

    name: str
    equal: int = 0
    max_abs_difference: float = 0.0


@dataclass(slots=True, kw_only=True)
class CompiledReport:
    """Comparison of the compiled shards' outputs with the whole's, or the reason, in one line, why they did not run."""

    why_not: str | None = None
    max_relative_error: float | None = None
    top1_agreement: float | None = None
    tolerance: Tolerance | None = None
    within: bool = True


@dataclass(slots=True, kw_only=True)
class VerifyReport:
    """Result of `verify`.

    `pictures` counts the compared pictures; `top1_*` are None where the model gives no classes. The top one is a task's
    answer to a picture: the class with the highest score, or all plates that are read. `tolerance` bounds the
    difference of the portable shards, None where they must be equal; `compiled` is None where the bundle has no
    compiled shards, or none were requested.
    """

    bundle: str
    stages: int
    threads: int
    pictures: int = 0
    equal: int = 0
    max_abs_difference: float = 0.0
    top1_agreement: float | None = None
    top1_classes: int | None = None
    random_tensors: int = 0
    random_equal: int = 0
    cuts: list[CutReport] = field(default_factory=list)
    precision: str = "fp32"
    max_relative_error: float = 0.0
    tolerance: Tolerance | None = None
    within: bool = True
    compiled: CompiledReport | None = None
    task: str = "classify"

    @property
    def all_equal(self) -> bool:
        """True where every picture and every random tensor is equal to the bit."""
        return self.equal == self.pictures and self.random_equal == self.random_tensors

    @property
    def passed(self) -> bool:
        """True where the portable shards are equal, or within their tolerance, and the compiled ones within theirs."""
        portable = self.all_equal if self.tolerance is None else self.within
        return portable and (self.compiled is None or self.compiled.within)

    def to_dict(self) -> dict[str, Any]:
        """Convert to plain values for JSON."""
        return asdict(self)


class LocalChain:
    """The whole and the shards of a bundle, loaded in this process."""

    def __init__(self, folder: Path, program: str = "portable") -> None:
        """Load the bundle's whole and all of its shards, and check every digest.

        Raises:
            BundleError: naming what is missing or altered.
        """
        self.bundle = open_bundle(folder)
        self.digest = self.bundle.digest
        self.whole = load_program(folder / WHOLE_FILE)
        self.shards = load_shards(folder, program)

    def run_stages(self, pixels: np.ndarray) -> list[dict[str, np.ndarray]]:
        """Run uint8 [batch, channels, h, w]; returns each stage's outputs by name. Every hop goes through a frame."""
        return run_shards(self.shards, pixels)

    def run_reference(self, pixels: np.ndarray) -> list[dict[str, np.ndarray]]:
        """Run the whole on uint8 [batch, channels, height, width] and return its tensors at each cut and at the end.

        They have the shapes, dtypes and layout of the stages' outputs. In another precision than fp32 the end alone is
        returned: the whole has other tensors at the cuts.
        """
        compared = self.shards if self.bundle.precision == "fp32" else self.shards[-1:]
        ends = [_node_names(self.whole, shard) for shard in compared]
        values = node_values(self.whole, torch.tensor(pixels), {name for names in ends for name in names.values()})
        return [
            {spec.name: to_numpy(values[names[spec.name]], spec) for spec in shard.stage.outputs}
            for shard, names in zip(compared, ends, strict=True)
        ]

    def compare(self, pixels: np.ndarray, report: VerifyReport) -> "Comparison":
        """Run both on one batch, uint8 [batch, channels, height, width], and add the differences to `report.cuts`."""
        stages, reference = self.run_stages(pixels), self.run_reference(pixels)
        equal = True
        for cut, found, expected in zip(report.cuts, stages[-len(reference) :], reference, strict=True):
            differences = [max_abs_difference(found[name], expected[name]) for name in expected]
            cut.max_abs_difference = max(cut.max_abs_difference, *differences)
            cut.equal += not any(differences)
            equal = equal and not any(differences)
        return Comparison(equal, stages[-1], reference[-1])

    def report(self) -> VerifyReport:
        """Create an empty report."""
        names = [shard.stage.cut or "output" for shard in self.shards]
        return VerifyReport(
            bundle=self.digest,
            stages=len(self.shards),
            threads=torch.get_num_threads(),
            task=self.bundle.task.name,
            cuts=[CutReport(name=name) for name in (names if self.bundle.precision == "fp32" else names[-1:])],
            precision=self.bundle.precision,
            tolerance=self.bundle.portable_tolerance,
        )


def load_shards(folder: Path, program: str) -> list[LoadedShard]:
    """Load all shards of the bundle at `folder` on the CPU.

    Raises:
        BundleError: as `load_shard`.
    """
    bundle = open_bundle(folder)
    return [load_shard(folder / stage_folder(stage.index), program=program) for stage in bundle.stages]


def run_shards(shards: Sequence[LoadedShard], pixels: np.ndarray) -> list[dict[str, np.ndarray]]:
    """Run uint8 [batch, channels, h, w]; returns each stage's outputs by name. Every hop goes through a frame."""
    tensors = chain_inputs(shards[0], pixels)
    outputs = []
    for shard in shards:
        frame = Frame(tensors=tensors, bundle=shard.digest, stage=shard.stage.index)
        tensors = shard.run(decode(encode(frame)).tensors)
        outputs.append(dict(tensors))
    return outputs


@dataclass(frozen=True, slots=True)
class Comparison:
    """Comparison of one batch: equality at every cut, and the final outputs of both."""

    equal: bool
    chain: Outputs
    whole: Outputs


def verify(
    folder: Path, batches: Iterable[np.ndarray], random_batches: Sequence[np.ndarray] = (), *, program: str = "auto"
) -> VerifyReport:
    """Compare a bundle's chain with its whole, and its compiled chain as well where it has one for this machine.

    Args:
        batches: real pictures, uint8 [1, channels, height, width] each.
        random_batches: noise, uint8 [n, channels, height, width] each; compared, but not counted as pictures.
        program: "portable" leaves out the compiled chain, "compiled" requires it.

    Raises:
        BundleError: the bundle is incomplete or altered, or lacks a compiled chain for this machine that is required.
    """
    chain = LocalChain(folder)
    report = chain.report()
    compiled = _compiled_chain(folder, chain, report, program)
    task, options = task_code(report.task), chain.bundle.task.options
    portable_agreement, compiled_agreement = Agreement(task, options), Agreement(task, options)
    for pixels, is_picture in _samples(batches, random_batches):
        comparison = chain.compare(pixels, report)
        portable_agreement.add(comparison.chain, comparison.whole, picture=is_picture)
        if is_picture:
            report.pictures += 1
            report.equal += comparison.equal
        else:
            report.random_tensors += 1
            report.random_equal += comparison.equal
        if compiled:
            compiled_agreement.add(run_shards(compiled, pixels)[-1], comparison.whole, picture=is_picture)
    report.max_abs_difference = max(cut.max_abs_difference for cut in report.cuts)
    report.max_relative_error = portable_agreement.max_relative_error
    report.top1_agreement, report.top1_classes = portable_agreement.top1, portable_agreement.classes
    report.within = report.tolerance is None or portable_agreement.within(report.tolerance)
    tolerance = chain.bundle.compiled_tolerance
    if compiled and tolerance is not None:
        report.compiled = CompiledReport(
            max_relative_error=compiled_agreement.max_relative_error,
            top1_agreement=compiled_agreement.top1,
            tolerance=tolerance,
            within=compiled_agreement.within(tolerance),
        )
    return report


def _samples(pictures: Iterable[np.ndarray], noise: Iterable[np.ndarray]) -> Iterator[tuple[np.ndarray, bool]]:
    """Yield each batch, with True for a picture and False for noise."""
    yield from ((pixels, True) for pixels in pictures)
    yield from ((pixels, False) for pixels in noise)


def _compiled_chain(folder: Path, chain: LocalChain, report: VerifyReport, program: str) -> list[LoadedShard]:
    """Load the compiled shards; none where they do not fit this machine, with the reason in `report.compiled`."""
    stages = chain.bundle.stages
    why_not = next((chosen.why_not for chosen in (select(stage, CPU) for stage in stages) if not chosen.packages), None)
    if program == "compiled" and why_not:
        raise BundleError(f"no compiled chain for this machine: {why_not}; build the bundle with --compile cpu here")
    if program == "portable" or not any(stage.compiled for stage in stages):
        return []
    report.compiled = CompiledReport(why_not=why_not)
    return [] if why_not else load_shards(folder, "compiled")


def random_batches(spec: TensorSpec, count: int, batch: int = 2, seed: int = 0) -> list[np.ndarray]:
    """Make `count` arrays of uniform noise in the input's shape, uint8 [batch, channels, height, width]."""
    generator = np.random.default_rng(seed)
    return [generator.integers(0, 256, spec.shape_for(batch), dtype=np.uint8) for _ in range(count)]


def _node_names(whole: ExportedProgram, shard: LoadedShard) -> dict[str, str]:
    """Node of the whole for each of the shard's outputs, by name; the model's own outputs correspond by position."""
    names = [spec.name for spec in shard.stage.outputs]
    if shard.is_last:
        return dict(zip(names, whole.graph_signature.user_outputs, strict=True))
    return {name: name for name in names}
