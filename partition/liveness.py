"""Liveness: the tensors alive after each node of an exported program, so where it can be cut and what crosses there.

Nodes fall into two kinds. A **carried** node depends on the inputs' values; if it is made before a cut and used after
it, it crosses the wire, and so does an input. A **free** node does not (parameters, constants, sizes and what is
computed from these alone): each shard that needs it makes it again, so it never crosses.

A position is a place right after a carried tensor, where a frame can carry all that crosses. The members of a tuple
output are one group with the node that makes them: no position parts them. Positions are numbered 0 … P-1 in the
program's topological order and bear the names of the modules that end there (from `nn_module_stack`): `layer3.2`, and
`layer3` where that block is its last.
"""

import difflib
import math
import operator
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch.export import ExportedProgram
from torch.fx import Node
from torch.fx.experimental.symbolic_shapes import free_unbacked_symbols

from shardline.partition.program import DTYPES, input_nodes
from shardline.wire.errors import CutError

_WRAPPER = "model."  # `Pixels.model`: every module path of the user's model begins with it


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """A place where the program can be cut: after `node`; `live` crosses to the next shard, in the order it is made.

    `name` is this position's alone: the shortest module path that ends here, else the node's name, else (where a module
    that ends elsewhere is called like the node) the index.
    """

    index: int
    name: str
    node: Node
    names: tuple[str, ...]  # module paths that end here, the shortest first
    live: tuple[Node, ...]

    def bytes_per_instance(self) -> int:
        """Return the bytes that cross this position for one picture."""
        return sum(tensor_bytes(node) for node in self.live)


@dataclass(frozen=True, slots=True, kw_only=True)
class Liveness:
    """An exported program's nodes, sorted into carried and free, and its positions."""

    program: ExportedProgram
    inputs: tuple[Node, ...]  # the pixels first
    outputs: tuple[Node, ...]
    carried: tuple[Node, ...]
    positions: tuple[Position, ...]

    @property
    def pixels(self) -> Node:
        """Input of the picture's pixels, uint8 [batch, channels, height, width]."""
        return self.inputs[0]

    def find(self, name: str) -> Position:
        """The position that `name` names: a number, a module path (`layer3.2`) or a node (`add_7`).

        Raises:
            CutError: no such position; the message lists near ones.
        """
        if name.isdecimal():
            if int(name) < len(self.positions):
                return self.positions[int(name)]
            raise CutError(f"there is no position {name}; positions run from 0 to {len(self.positions) - 1}")
        by_name = {
            **{position.node.name: position for position in self.positions},
            **{module: position for position in self.positions for module in position.names},
        }
        if name in by_name:
            return by_name[name]
        near = (
            difflib.get_close_matches(name, by_name, n=5, cutoff=0.4) or [p.name for p in self.positions if p.names][:5]
        )
        raise CutError(f"there is no position {name!r}; near it are {', '.join(near)}; a number is taken too")

    def find_all(self, names: Sequence[str]) -> tuple[Position, ...]:
        """The positions named, which must rise from the input to the output.

        Raises:
            CutError: an unknown name, the same position twice, or a wrong order.
        """
        found = tuple(self.find(name) for name in names)
        for before, after in pairwise(found):
            if before.index >= after.index:
                raise CutError(
                    f"the cut {after.name} (position {after.index}) does not come after {before.name} "
                    f"(position {before.index}); list cuts from the input to the output"
                )
        return found


def analyse(program: ExportedProgram) -> Liveness:
    """Sort the nodes of a captured program and find its positions."""
    nodes = list(program.graph.nodes)
    inputs = input_nodes(program)
    outputs = tuple(next(node for node in nodes if node.op == "output").args[0])
    carried = _carried(nodes, inputs)
    return Liveness(
        program=program,
        inputs=inputs,
        outputs=outputs,
        carried=carried,
        positions=tuple(_positions(carried, inputs, outputs)),
    )


def tensor_bytes(node: Node, batch: int = 1) -> int:
    """Bytes of a node's tensor at this batch size."""
    value = node.meta["val"]
    return math.prod(size_at(dim, batch) for dim in value.shape) * int(value.element_size())


def size_at(dim: int | torch.SymInt, batch: int) -> int:
    """A dimension's size at this batch: dimensions are numbers or expressions in the one symbol, the batch."""
    if isinstance(dim, int):
        return dim
    expression = dim.node.expr
    return int(expression.subs(dict.fromkeys(expression.free_symbols, batch)))


def _carried(nodes: Sequence[Node], inputs: Sequence[Node]) -> tuple[Node, ...]:
    """Nodes that depend on the inputs' values, in order, each tuple's members right behind it."""
    carried = set(inputs)
    for node in nodes:
        if node.op == "call_function" and not _is_size(node) and any(arg in carried for arg in node.all_input_nodes):
            carried.add(node)
    ordered: list[Node] = []
    for node in nodes:
        if node in carried and node not in inputs and not is_member(node):
            ordered += [node, *_members(node)]
    return tuple(ordered)


def _is_size(node: Node) -> bool:
    return not isinstance(node.meta.get("val"), torch.Tensor | tuple | list)


def is_member(node: Node) -> bool:
    """Is this node one member of a tuple that another node makes?"""
    return node.target is operator.getitem and isinstance(node.args[0], Node)


def _members(node: Node) -> list[Node]:
    return sorted((user for user in node.users if is_member(user)), key=lambda user: int(str(user.args[1])))


def _positions(carried: Sequence[Node], inputs: Sequence[Node], outputs: Sequence[Node]) -> Iterator[Position]:
    order = {node: index for index, node in enumerate(carried)}
    last_use = _last_uses(order, inputs, outputs)
    ends = _module_ends(order)
    modules = {path for paths in ends.values() for path in paths}
    live = list(inputs)
    index = 0
    for at, node in enumerate(carried[:-1]):
        if isinstance(node.meta["val"], torch.Tensor):
            live.append(node)
        live = [kept for kept in live if last_use[kept] > at]
        if live and _can_cross(live) and not _parts_a_tuple(node, carried[at + 1]):
            names = ends.get(node, ())
            name = names[0] if names else str(index) if node.name in modules else node.name
            yield Position(index=index, name=name, node=node, names=names, live=tuple(live))
            index += 1


def _can_cross(live: Sequence[Node]) -> bool:
    """True where a frame can carry all tensors: their dtypes are known, and no size depends on the pixels' values."""
    return all(node.meta["val"].dtype in DTYPES and not free_unbacked_symbols(node.meta["val"]) for node in live)


def _parts_a_tuple(before: Node, after: Node) -> bool:
    return not isinstance(before.meta["val"], torch.Tensor) or (is_member(after) and is_member(before))


def _last_uses(order: Mapping[Node, int], inputs: Sequence[Node], outputs: Sequence[Node]) -> dict[Node, int]:
    """Where each carried node is used last; the model's own outputs are used at the very end."""
    end = len(order)
    last_use = {}
    for node in (*inputs, *order):
        last_use[node] = max((order[user] for user in node.users if user in order), default=-1)
    for node in outputs:
        last_use[node] = end
    return last_use


def _module_ends(order: Mapping[Node, int]) -> dict[Node, tuple[str, ...]]:
    """The module paths whose last carried node this is, the shortest path first; a bare number names no module."""
    ends: dict[str, Node] = {}
    for node in order:
        for path, _ in (node.meta.get("nn_module_stack") or {}).values():
            if path:
                ends[_short(path)] = node
    at: dict[Node, list[str]] = {}
    for path, node in ends.items():
        if path and not path.isdecimal():
            at.setdefault(node, []).append(path)
    return {node: tuple(sorted(paths, key=lambda path: (path.count("."), len(path)))) for node, paths in at.items()}


def _short(path: str) -> str:
    """`model.layer1.0@1` -> `layer1.0`: without the wrapper, and without the mark of a module that is called twice."""
    return "" if path == _WRAPPER[:-1] else path.removeprefix(_WRAPPER).partition("@")[0]
