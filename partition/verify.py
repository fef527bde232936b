"""The chain of shards against the whole: every difference, at every cut and at the end.

Both run eagerly in this process with the same threads and batch, and every tensor between two shards goes through a
frame, so equality is to the bit or something is wrong.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.export import ExportedProgram

from partition.layout import to_numpy
from partition.program import node_values
from partition.runtime import LoadedShard, load_program, load_shard
from storage.bundle import WHOLE_FILE, TensorSpec, stage_folder
from storage.bundle_folder import read_bundle
from wire.frame import Frame, decode, encode


@dataclass(slots=True, kw_only=True)
class CutReport:
    """How the tensors at one cut compare. Differences are absolute, in the tensors' own units."""

    name: str
    equal: int = 0
    max_abs_difference: float = 0.0


@dataclass(slots=True, kw_only=True)
class Report:
    """What `verify` found. `pictures` were compared; `top1_*` are None where the model gives no classes."""

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

    @property
    def all_equal(self) -> bool:
        return self.equal == self.pictures and self.random_equal == self.random_tensors

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


class Chain:
    """A whole and its shards, in this process."""

    def __init__(self, folder: Path) -> None:
        """Load a bundle's whole and all its shards, with every digest checked.

        Raises:
            BundleError: naming what is missing or altered.
        """
        self.bundle = read_bundle(folder)
        self.digest = self.bundle.digest
        self.whole = load_program(folder / WHOLE_FILE)
        self.shards = [load_shard(folder / stage_folder(stage.index)) for stage in self.bundle.stages]

    def run_stages(self, pixels: np.ndarray) -> list[dict[str, np.ndarray]]:
        """uint8 [batch, 3, height, width] -> each stage's outputs by name, every hop through a frame."""
        name = self.bundle.stages[0].inputs[0].name
        tensors: Mapping[str, np.ndarray] = {name: pixels}
        outputs = []
        for shard in self.shards:
            frame = Frame(tensors=tensors, bundle=self.digest, stage=shard.stage.index)
            tensors = shard.run(decode(encode(frame)).tensors)
            outputs.append(dict(tensors))
        return outputs

    def run_reference(self, pixels: np.ndarray) -> list[dict[str, np.ndarray]]:
        """What the whole gives at each cut and at the end, as the stages would send it."""
        ends = [_node_names(self.whole, shard) for shard in self.shards]
        values = node_values(self.whole, torch.tensor(pixels), {name for names in ends for name in names.values()})
        return [
            {spec.name: to_numpy(values[names[spec.name]], spec) for spec in shard.stage.outputs}
            for shard, names in zip(self.shards, ends, strict=True)
        ]

    def compare(self, pixels: np.ndarray, report: Report) -> "Comparison":
        """Run both on one batch (uint8 [batch, 3, height, width]) and add what differs to `report.cuts`."""
        stages, reference = self.run_stages(pixels), self.run_reference(pixels)
        equal = True
        for cut, found, expected in zip(report.cuts, stages, reference, strict=True):
            differences = [_difference(found[name], expected[name]) for name in expected]
            cut.max_abs_difference = max(cut.max_abs_difference, *differences)
            cut.equal += not any(differences)
            equal = equal and not any(differences)
        return Comparison(equal, stages[-1], reference[-1])


@dataclass(frozen=True, slots=True)
class Comparison:
    """One batch: was everything equal at every cut, and what came out at the end."""

    equal: bool
    chain: Mapping[str, np.ndarray]
    whole: Mapping[str, np.ndarray]

    def tops(self) -> list[tuple[int, int]]:
        """(chain's class, whole's class) of each instance, where the first output is [batch, classes]."""
        found, expected = next(iter(self.chain.values())), next(iter(self.whole.values()))
        if found.ndim != 2 or found.shape != expected.shape:
            return []
        return list(zip(found.argmax(1).tolist(), expected.argmax(1).tolist(), strict=True))


def verify(folder: Path, batches: Iterable[np.ndarray], random_batches: Sequence[np.ndarray] = ()) -> Report:
    """Compare a bundle's chain with its whole.

    Args:
        batches: uint8 [1, 3, height, width] each, real pictures.
        random_batches: uint8 [n, 3, height, width] each, noise; compared, but not counted as pictures.

    Raises:
        BundleError: the bundle is incomplete or altered.
    """
    chain = Chain(folder)
    report = Report(
        bundle=chain.digest,
        stages=len(chain.shards),
        threads=torch.get_num_threads(),
        cuts=[CutReport(name=shard.stage.cut or "output") for shard in chain.shards],
    )
    tops: list[tuple[int, int]] = []
    for pixels in batches:
        comparison = chain.compare(pixels, report)
        report.pictures += 1
        report.equal += comparison.equal
        tops += comparison.tops()
    for pixels in random_batches:
        report.random_tensors += 1
        report.random_equal += chain.compare(pixels, report).equal
    report.max_abs_difference = max(cut.max_abs_difference for cut in report.cuts)
    if tops:
        report.top1_agreement = sum(found == expected for found, expected in tops) / len(tops)
        report.top1_classes = len({found for found, _ in tops})
    return report


def random_batches(spec: TensorSpec, count: int, batch: int = 2, seed: int = 0) -> list[np.ndarray]:
    """`count` arrays of uniform uint8 noise of the input's shape."""
    generator = np.random.default_rng(seed)
    return [generator.integers(0, 256, spec.shape_for(batch), dtype=np.uint8) for _ in range(count)]


def _node_names(whole: ExportedProgram, shard: LoadedShard) -> dict[str, str]:
    """Where the whole makes what this shard gives: live tensors bear their node's name, outputs their place."""
    names = [spec.name for spec in shard.stage.outputs]
    if shard.is_last:
        return dict(zip(names, whole.graph_signature.user_outputs, strict=True))
    return {name: name for name in names}


def _difference(found: np.ndarray, expected: np.ndarray) -> float:
    """The largest absolute difference; infinite where shapes, dtypes or the places of NaN differ."""
    if found.shape != expected.shape or found.dtype != expected.dtype:
        return float("inf")
    if np.array_equal(found, expected, equal_nan=found.dtype.kind == "f"):
        return 0.0
    difference = np.abs(found.astype(np.float64) - expected.astype(np.float64))
    return float("inf") if np.isnan(difference).any() else float(difference.max())
