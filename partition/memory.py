"""The bytes that every possible stage would hold: its weights, and its tensors at their most. Counted, not measured.

Edges are the places where a stage can begin or end: edge 0 is the input, edge i+1 is position i, and the last edge is
the output. Arrays here have one row a start and one column an end; where the end is not behind the start, they are 0.

A tensor takes its bytes from the node that makes it to the last that reads it or a view of it; views take none of their
own. A stage's input stays until the stage has ended, since its caller holds it; what the stage passes on stays, too.
Free nodes' values (masks, tables looked up in weights) are made again in each stage that needs them, and all that one
carried node needs of them counts at once. What kernels take for their own work is not in the graph and not counted.
"""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch.fx import Node
from torch.utils._pytree import tree_leaves

from shardline.partition.liveness import Liveness, size_at, tensor_bytes

Bytes = NDArray[np.int64]


# A piece of memory as a row: the carried node that makes it, the last one that needs it (indexes), its bytes.
_BORN, _LAST, _SIZE = range(3)


def stage_weight_bytes(liveness: Liveness) -> Bytes:
    """The weights that each stage would hold: int64 [edges, edges]. One that two stages read is in both."""
    uses = [[node for node in free if _is_weight(node)] for free in _free_needs(liveness)]
    ends = edge_ends(liveness)
    found = np.zeros((len(ends), len(ends)), np.int64)
    first = np.zeros(len(liveness.carried), np.int64)  # bytes of the weights that are first read here, from a start on
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
    """The most that each stage's tensors take at once, inputs and outputs included: int64 [edges, edges]."""
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
    """Note in `change`, by carried node, where memory is taken and where it is given back."""
    np.add.at(change, lives[:, _BORN], lives[:, _SIZE])
    np.subtract.at(change, lives[:, _LAST] + 1, lives[:, _SIZE])


def edge_ends(liveness: Liveness) -> list[int]:
    """The index of the carried node that lies just before each edge, -1 before the input."""
    order = {node: index for index, node in enumerate(liveness.carried)}
    return [-1, *(order[position.node] for position in liveness.positions), len(liveness.carried) - 1]


def edge_bytes(liveness: Liveness, batch: int = 1) -> list[int]:
    """What crosses each edge: the pixels, every live set, and nothing at the output, where a small reply goes."""
    crossing = (sum(tensor_bytes(node, batch) for node in position.live) for position in liveness.positions)
    return [tensor_bytes(liveness.pixels, batch), *crossing, 0]


def _up_to(values: Bytes, ends: list[int], start: int) -> Bytes:
    """The values at each edge behind `start`, 0 before it."""
    at_edges = values[np.maximum(ends, 0)]
    at_edges[: start + 1] = 0
    return at_edges


def free_before(node: Node, known: set[Node]) -> list[Node]:
    """The free nodes, weights among them, that this node needs and that are not `known`; they are added to it."""
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
    """For each carried node, all free nodes that it needs, directly or through other free ones."""
    carried = {liveness.pixels, *liveness.carried}
    return [free_before(node, set(carried)) for node in liveness.carried]


def _is_weight(node: Node) -> bool:
    return node.op == "placeholder"


def _carried_lives(liveness: Liveness, batch: int) -> Bytes:
    """One row for each piece of memory that the carried nodes make; a tuple's are all made by the node of the tuple."""
    order = {node: index for index, node in enumerate(liveness.carried)}
    outputs = set(liveness.outputs)
    lives: dict[int, list[int]] = {}
    for node, at in order.items():
        last = len(order) - 1 if node in outputs else max([at, *(order[user] for user in node.users if user in order)])
        _extend(lives, node, at, last, batch)
    lives.pop(_storage(liveness.pixels.meta["val"]), None)  # views of the pixels
    return np.array(list(lives.values()), np.int64).reshape(-1, 3)


def _free_lives(liveness: Liveness, batch: int) -> Bytes:
    """One row for each piece of memory that free nodes make; weights and views of them are none."""
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
    """Let the memory of a node's tensors live from `born` to `last` at least."""
    for value in _tensors(node):
        size_bytes = math.prod(size_at(dim, batch) for dim in value.shape) * int(value.element_size())
        life = lives.setdefault(_storage(value), [born, last, size_bytes])
        life[_LAST] = max(life[_LAST], last)
        life[_SIZE] = max(life[_SIZE], size_bytes)


def _tensors(node: Node) -> list[torch.Tensor]:
    return [value for value in tree_leaves(node.meta.get("val")) if isinstance(value, torch.Tensor)]


def _storage(value: torch.Tensor) -> int:
    """Equal for tensors that share memory: a view and what it is a view of."""
    return int(value.untyped_storage()._cdata)
