"""What every piece of the whole costs: measured milliseconds, counted bytes, and the hop from stage to stage.

Costs are told at edges, the places where a stage can begin or end (`partition/memory.py`): edge 0 is the input, edge
i+1 is position i, the last edge is the output.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from shardline.partition.liveness import Liveness
from shardline.partition.memory import edge_bytes, free_before, stage_peak_bytes, stage_weight_bytes
from shardline.partition.profile import Profile

_MEBIBYTE = 1024**2


@dataclass(frozen=True, slots=True, kw_only=True)
class HopCost:
    """What a stage costs beside its model, a straight line in the bytes that come and go: its server and the router.

    The default is what was seen with echo stages on two cores behind KServe's router: 0.4 ms for a small body and 8 to
    12 ms for 3 MB.
    """

    fixed_ms: float = 0.4
    per_mebibyte_ms: float = 3.0  # of one body that comes in and goes out again
    source: str = "default"  # or "given", or when it was measured

    def ms(self, input_bytes: int, output_bytes: int) -> float:
        return self.fixed_ms + self.per_mebibyte_ms * (input_bytes + output_bytes) / 2 / _MEBIBYTE


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """Milliseconds from the input up to each edge on one device, free nodes where they are needed first."""

    batch_ms: tuple[float, ...]  # of one batch
    single_ms: tuple[float, ...]  # of one picture alone
    measured_at: str = ""  # UTC, ISO 8601


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Costs:
    """All that a plan weighs.

    Attributes:
        batch: the pictures of one batch.
        threads: torch's, when times were measured.
        times: by device, as torch names it.
        body_bytes: what crosses each edge, of one picture; 0 at the output.
        weight_bytes: int64 [edges, edges], of the stage from one edge (row) to another (column).
        peak_bytes: likewise, the most that its tensors take at once, one batch.
    """

    batch: int
    threads: int
    times: Mapping[str, Times]
    body_bytes: tuple[int, ...]
    weight_bytes: NDArray[np.int64]
    peak_bytes: NDArray[np.int64]
    hop: HopCost = field(default_factory=HopCost)


def costs_of(liveness: Liveness, profiles: Mapping[str, tuple[Profile, Profile]], hop: HopCost) -> Costs:
    """Add up what was measured: for each device a profile of one picture alone and one of a batch."""
    order = _in_order(liveness)
    some = next(batch for _, batch in profiles.values())
    return Costs(
        batch=some.batch,
        threads=some.threads,
        times={
            device: Times(batch_ms=_sums(order, batch), single_ms=_sums(order, single), measured_at=batch.measured_at)
            for device, (single, batch) in profiles.items()
        },
        body_bytes=tuple(edge_bytes(liveness)),
        weight_bytes=stage_weight_bytes(liveness),
        peak_bytes=stage_peak_bytes(liveness, some.batch),
        hop=hop,
    )


def _in_order(liveness: Liveness) -> list[list[str]]:
    """The names of the nodes that run between each edge and the one before it."""
    known = {liveness.pixels, *liveness.carried}
    ends = {position.node for position in liveness.positions}
    pieces: list[list[str]] = [[]]
    for node in liveness.carried:
        pieces[-1] += [each.name for each in (node, *free_before(node, known))]
        if node in ends:
            pieces.append([])
    return pieces


def _sums(order: Sequence[Sequence[str]], measured: Profile) -> tuple[float, ...]:
    sums = [0.0]
    for names in order:
        sums.append(sums[-1] + sum(measured.node_ms.get(name, 0.0) for name in names))
    return tuple(sums)
