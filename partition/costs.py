"""Costs of every possible stage: measured milliseconds, bytes of weights and activations, and the hop between stages.

Edges are the positions where a stage can begin or end: edge 0 is the input, edge i+1 is position i, and the last edge
is the output. Arrays of bytes here have one row per start and one column per end: int64 [edges, edges]. Where the end
does not lie behind the start, they are 0. Bytes are counted in the graph, not measured.

A tensor takes its bytes from the node that makes it to the last node that reads it or a view of it; views take none of
their own. A stage's input stays until the stage has ended, since its caller holds it; what the stage passes on stays,
too. The values of free nodes (masks, tables looked up in weights) are computed again in each stage that needs them, and
everything that one carried node needs of them counts at once. Workspace that kernels allocate for themselves is not in
the graph and not counted.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch.fx import Node
from torch.utils._pytree import tree_leaves

from shardline.partition.liveness import Liveness, size_at, tensor_bytes
from shardline.wire.limits import MIB

if TYPE_CHECKING:
    from shardline.partition.profile import Profile

Bytes = NDArray[np.int64]

# Columns of an allocation: index of the carried node that makes it, of the last one that needs it, and its bytes.
_BORN, _LAST, _SIZE = range(3)


@dataclass(frozen=True, slots=True, kw_only=True)
class HopCost:
    """Overhead of one stage, its server and the router: a straight line in the bytes received and sent.

    The default was measured with echo stages on two cores behind KServe's router: 0.4 ms for a small body and 8 to 12
    ms for 3 MiB.
    """

    fixed_ms: float = 0.4
    per_mebibyte_ms: float = 3.0  # for a body that is received and sent again
    source: str = "default"  # or "given", or the time of the measurement

    def ms(self, input_bytes: int, output_bytes: int) -> float:
        """Milliseconds of overhead for bodies of these sizes."""
        return self.fixed_ms + self.per_mebibyte_ms * (input_bytes + output_bytes) / 2 / MIB


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """Milliseconds from the input up to each edge on one device; a free node counts where it is needed first."""

    batch_ms: tuple[float, ...]  # of one batch
    single_ms: tuple[float, ...]  # of a single picture
    measured_at: str = ""  # UTC, ISO 8601


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Costs:
    """Measured times and counted bytes of every possible stage.

    Attributes:
        batch: number of pictures in one batch.
        threads: threads of torch during the measurement.
        times: times by device, as torch names it.
        body_bytes: bytes that cross each edge for one picture; 0 at the output.
        weight_bytes: weights of the stage from one edge (row) to another (column): int64 [edges, edges].
        peak_bytes: peak of the stage's tensors, one batch: int64 [edges, edges].
        hop: overhead of one stage.
    """

    batch: int
    threads: int
    times: Mapping[str, Times]
    body_bytes: tuple[int, ...]
    weight_bytes: NDArray[np.int64]
    peak_bytes: NDArray[np.int64]
    hop: HopCost = field(default_factory=HopCost)


def costs_of(liveness: Liveness, profiles: "Mapping[str, tuple[Profile, Profile]]", hop: HopCost) -> Costs:
    """Add up the profiles of each device: that of a single picture and that of a batch."""
    order = _in_order(liveness)
    first = next(batch for _, batch in profiles.values())
    return Costs(
        batch=first.batch,
        threads=first.threads,
        times={
            device: Times(batch_ms=_sums(order, batch), single_ms=_sums(order, single), measured_at=batch.measured_at)
            for device, (single, batch) in profiles.items()
        },
        body_bytes=tuple(edge_bytes(liveness)),
        weight_bytes=stage_weight_bytes(liveness),
        peak_bytes=stage_peak_bytes(liveness, first.batch),
        hop=hop,
    )


def _in_order(liveness: Liveness) -> list[list[str]]:
    """Names of the nodes that run between each edge and the edge before it."""
    known = {*liveness.inputs, *liveness.carried}
    ends = {position.node for position in liveness.positions}
    pieces: list[list[str]] = [[]]
    for node in liveness.carried:
        pieces[-1] += [needed.name for needed in (node, *free_before(node, known))]
        if node in ends:
            pieces.append([])
    return pieces


def _sums(order: Sequence[Sequence[str]], measured: "Profile") -> tuple[float, ...]:
    sums = [0.0]
    for names in order:
        sums.append(sums[-1] + sum(measured.node_ms.get(name, 0.0) for name in names))
    return tuple(sums)


def stage_weight_bytes(liveness: Liveness) -> Bytes:
    """Bytes of each stage's weights: int64 [edges, edges]. A weight that two stages read counts in both."""
    uses = [[node for node in free if _is_weight(node)] for free in _free_needs(liveness)]
    ends = edge_ends(liveness)
    found = np.zeros((len(ends), len(ends)), np.int64)
    first = np.zeros(
        len(liveness.carried), np.int64
    )  # bytes of the weights that a stage reads here first, from its start on
    first_use: dict[Node, int] = {}
    start = len(ends) - 2
    for at in range(len(liveness.carried) - 1, -1, -1):
        for weight in uses[at]:
            if weight in first_use:
                first[first_use[weight]] -= tensor_bytes(weight)
            first_use[weight] = at
            first[at] += tensor_bytes(weight)
        while start >= 0 and ends[start] + 1 == at:
            found[start] = _up_to(np.cumsum(first), ends, start)
            start -= 1
    return found


def stage_peak_bytes(liveness: Liveness, batch: int) -> Bytes:
    """Peak bytes of each stage's tensors, inputs and outputs included: int64 [edges, edges]."""
    made, again = _carried_lives(liveness, batch), _free_lives(liveness, batch)
    ends = edge_ends(liveness)
    bodies = edge_bytes(liveness, batch)
    found = np.zeros((len(ends), len(ends)), np.int64)
    for start, end in enumerate(ends[:-1]):
        change = np.zeros(len(liveness.carried) + 1, np.int64)
        _add(change, made[made[:, _BORN] > end])
        needed = again[again[:, _LAST] > end]
        _add(change, np.column_stack((np.maximum(needed[:, _BORN], end + 1), needed[:, 1:])))
        found[start] = _up_to(np.maximum.accumulate(np.cumsum(change[:-1])) + bodies[start], ends, start)
    return found


def _add(change: Bytes, lives: Bytes) -> None:
    """Add to `change`, by carried node, the bytes that are allocated, and subtract those that are freed."""
    np.add.at(change, lives[:, _BORN], lives[:, _SIZE])
    np.subtract.at(change, lives[:, _LAST] + 1, lives[:, _SIZE])


def edge_ends(liveness: Liveness) -> list[int]:
    """Index of the carried node just before each edge, -1 before the input."""
    order = {node: index for index, node in enumerate(liveness.carried)}
    return [-1, *(order[position.node] for position in liveness.positions), len(liveness.carried) - 1]


def edge_bytes(liveness: Liveness, batch: int = 1) -> list[int]:
    """Bytes that cross each edge: the inputs, every live set, and 0 at the output, where a small reply is sent."""
    crossing = (sum(tensor_bytes(node, batch) for node in position.live) for position in liveness.positions)
    return [sum(tensor_bytes(node, batch) for node in liveness.inputs), *crossing, 0]


def _up_to(values: Bytes, ends: list[int], start: int) -> Bytes:
    """Values at each edge after `start`, 0 before it."""
    at_edges = values[np.maximum(ends, 0)]
    at_edges[: start + 1] = 0
    return at_edges


def free_before(node: Node, known: set[Node]) -> list[Node]:
    """Collect the free nodes, weights included, that this node needs and that are not in `known`; extend `known`."""
    found = []
    waiting = [node]
    while waiting:
        new = [needed for needed in waiting.pop().all_input_nodes if needed not in known]
        new = list(dict.fromkeys(new))
        known.update(new)
        found += new
        waiting += new
    return found


def _free_needs(liveness: Liveness) -> list[list[Node]]:
    """Collect for each carried node all free nodes that it needs, directly or through other free nodes."""
    carried = {*liveness.inputs, *liveness.carried}
    return [free_before(node, set(carried)) for node in liveness.carried]


def _is_weight(node: Node) -> bool:
    return node.op == "placeholder"


def _carried_lives(liveness: Liveness, batch: int) -> Bytes:
    """Allocations of the carried nodes: int64 [allocations, 3]. A tuple's node makes all of its members."""
    order = {node: index for index, node in enumerate(liveness.carried)}
    outputs = set(liveness.outputs)
    lives: dict[int, list[int]] = {}
    for node, at in order.items():
        last = len(order) - 1 if node in outputs else max([at, *(order[user] for user in node.users if user in order)])
        _extend(lives, node, at, last, batch)
    for node in liveness.inputs:
        lives.pop(_storage(node.meta["val"]), None)  # views of the inputs
    return np.array(list(lives.values()), np.int64).reshape(-1, 3)


def _free_lives(liveness: Liveness, batch: int) -> Bytes:
    """Allocations of the free nodes, one row each: int64 [allocations, 3]. Weights and views of them are left out."""
    lives: dict[int, list[int]] = {}
    for at, needed in enumerate(_free_needs(liveness)):
        for node in needed:
            _extend(lives, node, at, at, batch)
    for node in liveness.program.graph.nodes:
        if _is_weight(node):
            for value in _tensors(node):
                lives.pop(_storage(value), None)
    return np.array(list(lives.values()), np.int64).reshape(-1, 3)


def _extend(lives: dict[int, list[int]], node: Node, born: int, last: int, batch: int) -> None:
    """Extend the lives of a node's tensors to reach from `born` to `last`."""
    for value in _tensors(node):
        size_bytes = math.prod(size_at(dim, batch) for dim in value.shape) * int(value.element_size())
        life = lives.setdefault(_storage(value), [born, last, size_bytes])
        life[_LAST] = max(life[_LAST], last)
        life[_SIZE] = max(life[_SIZE], size_bytes)


def _tensors(node: Node) -> list[torch.Tensor]:
    return [value for value in tree_leaves(node.meta.get("val")) if isinstance(value, torch.Tensor)]


def _storage(value: torch.Tensor) -> int:
    """Identity of a tensor's memory, shared by a tensor and its views."""
    return int(value.untyped_storage()._cdata)
