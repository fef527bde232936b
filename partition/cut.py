"""Cut the whole at positions into shards, each an exported program of its own.

A shard takes the tensors that are alive at the cut before it and returns those alive at the cut after it. Free nodes
(constants, sizes) that it needs are computed again inside it; the batch size is read off one of its inputs. Strides are
kept: the shard is exported with inputs of the strides that the whole model's tensors have there, so that the same
kernels run (`partition/tensors.py` restores them after the wire).
"""

import operator
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import sympy
import torch
from torch.export import Dim, ExportedProgram
from torch.export.graph_signature import InputKind
from torch.fx import Graph, GraphModule, Node

from shardline.partition.liveness import Liveness, Position, size_at
from shardline.partition.program import MAX_BATCH, node_values, safetensors_dtype
from shardline.partition.tensors import dim_order, strides_by_batch, to_numpy, to_torch
from shardline.storage.bundle import TensorSpec
from shardline.wire.errors import CutError

_EXAMPLE_BATCH = 2  # torch.export specialises on 0 and 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """One stage's program and its inputs and outputs. `cut` names the position after it, None for the last stage."""

    program: ExportedProgram
    cut: str | None
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


@dataclass(frozen=True, slots=True)
class _Edge:
    """Tensors that cross at one position, and their specs."""

    nodes: tuple[Node, ...]
    specs: tuple[TensorSpec, ...]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(spec.name for spec in self.specs)


def cut(liveness: Liveness, positions: Sequence[Position], pixels: torch.Tensor) -> Iterator[Shard]:
    """Cut the whole at `positions` into len(positions) + 1 shards, first to last.

    Args:
        positions: from `liveness`, rising.
        pixels: uint8 [n, channels, height, width]; the whole is run on them to find the strides.

    Raises:
        CutError: torch.export does not take a shard.
    """
    return shards_between(liveness, positions, pixels, pairwise(range(len(positions) + 2)))


def shards_between(
    liveness: Liveness, positions: Sequence[Position], pixels: torch.Tensor, wanted: Iterable[tuple[int, int]]
) -> Iterator[Shard]:
    """Cut out the shards that `wanted` lists by their first and last edge, from uint8 [n, channels, height, width].

    Edge 0 is the input, edge i+1 is positions[i], and the last edge is the output.

    Raises:
        CutError: torch.export does not take a shard.
    """
    crossing = [
        {node.name: node for node in liveness.inputs},
        *({node.name: node for node in position.live} for position in positions),
        dict(zip(_output_names(liveness), liveness.outputs, strict=True)),
    ]
    names = {node.name for named in crossing for node in named.values()}
    two, three = (node_values(liveness.program, _repeated(pixels, batch), names) for batch in (_EXAMPLE_BATCH, 3))
    edges = [
        _Edge(tuple(named.values()), tuple(_spec(name, node, two, three) for name, node in named.items()))
        for named in crossing
    ]
    edges[-1] = replace(edges[-1], specs=tuple(_plain(spec) for spec in edges[-1].specs))
    for index, (start, end) in enumerate(wanted):
        yield Shard(
            program=_export(liveness, edges[start], edges[end], two, index),
            cut=positions[end - 1].name if end <= len(positions) else None,
            inputs=edges[start].specs,
            outputs=edges[end].specs,
        )


def _repeated(pixels: torch.Tensor, batch: int) -> torch.Tensor:
    """Take the first `batch` pictures, and repeat them where there are fewer."""
    return pixels.repeat(batch, 1, 1, 1)[:batch]


def _output_names(liveness: Liveness) -> tuple[str, ...]:
    """Names of the model's outputs: `output`, or `output_0`, `output_1`, … where there are several."""
    count = len(liveness.outputs)
    return ("output",) if count == 1 else tuple(f"output_{index}" for index in range(count))


def _spec(name: str, node: Node, two: Mapping[str, torch.Tensor], three: Mapping[str, torch.Tensor]) -> TensorSpec:
    """Spec of a node's tensor, from its layout at batches 2 and 3."""
    value = two[node.name]
    return TensorSpec(
        name=name,
        dtype=safetensors_dtype(value.dtype),
        shape=tuple(_dimension(dim) for dim in node.meta["val"].shape),
        dim_order=dim_order(value),
        strides=strides_by_batch(value, three[node.name]),
    )


def _plain(spec: TensorSpec) -> TensorSpec:
    """Spec with the model's own dimension order: the last stage's outputs are read by its task, not by a kernel."""
    return replace(spec, dim_order=tuple(range(len(spec.shape))), strides=None)


def _dimension(dim: int | torch.SymInt) -> int | str:
    if isinstance(dim, int):
        return dim
    multiple = size_at(dim, 1)
    return "batch" if multiple == 1 else f"{multiple}*batch"


def _export(
    liveness: Liveness, before: _Edge, after: _Edge, values: Mapping[str, torch.Tensor], index: int
) -> ExportedProgram:
    module = _Extraction(liveness, before, after).module()
    batch = Dim("batch", min=1, max=MAX_BATCH)
    examples = tuple(
        to_torch(to_numpy(values[node.name], spec), spec) for node, spec in zip(before.nodes, before.specs, strict=True)
    )
    shapes = {name: _dynamic(node, batch) for name, node in zip(before.names, before.nodes, strict=True)}
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # torch warns about its own internals
        try:
            program: ExportedProgram = torch.export.export(module, examples, dynamic_shapes=shapes, strict=False)
        except Exception as exc:  # torch.export raises many kinds; for the user each is a shard that cannot be made
            reason = " ".join(str(exc).split())[:300]
            raise CutError(f"shard {index} cannot be exported, choose another cut: {reason}") from exc
    return program


def _dynamic(node: Node, batch: Any) -> dict[int, Any]:
    multiples = {dim: size_at(size, 1) for dim, size in enumerate(node.meta["val"].shape) if not isinstance(size, int)}
    return {dim: batch if multiple == 1 else multiple * batch for dim, multiple in multiples.items()}


class _Extraction:
    """Copy of the nodes between two edges in a graph of their own."""

    def __init__(self, liveness: Liveness, before: _Edge, after: _Edge) -> None:
        self._liveness = liveness
        self._after = after
        self._graph = Graph()
        self._attributes: dict[str, Any] = {}
        self._inputs = {spec.arg.name: spec for spec in liveness.program.graph_signature.input_specs}
        self._copies: dict[Node, Node] = {
            node: self._graph.placeholder(name) for name, node in zip(before.names, before.nodes, strict=True)
        }
        self._batch_symbol = liveness.pixels.meta["val"].shape[0].node.expr
        self._batch = self._batch_from(before.nodes)

    def module(self) -> GraphModule:
        needed = self._needed()
        for node in self._liveness.program.graph.nodes:
            if node in needed:
                self._copies[node] = self._make(node)
        self._graph.output(tuple(self._copies[node] for node in self._after.nodes))
        self._graph.lint()
        return GraphModule(self._attributes, self._graph)

    def _batch_from(self, nodes: Sequence[Node]) -> Node:
        """Node of the batch size, read off the first input that has it as a dimension, else as a multiple."""
        dims = [
            (size_at(size, 1), node, dim)
            for node in nodes
            for dim, size in enumerate(node.meta["val"].shape)
            if not isinstance(size, int)
        ]
        if not dims:
            raise CutError(f"no tensor that crosses at {nodes[0].name} has a batch dimension: choose another cut")
        multiple, node, dim = min(dims, key=lambda entry: entry[0])
        size = self._graph.call_function(torch.ops.aten.sym_size.int, (self._copies[node], dim))
        return size if multiple == 1 else self._graph.call_function(operator.floordiv, (size, multiple))

    def _needed(self) -> set[Node]:
        """Collect the nodes of this shard: everything between its inputs, the free nodes, and its outputs."""
        needed: set[Node] = set()
        waiting = list(self._after.nodes)
        while waiting:
            node = waiting.pop()
            if node in needed or node in self._copies:
                continue
            needed.add(node)
            if not self._is_batch_multiple(node):
                waiting.extend(node.all_input_nodes)
        return needed

    def _make(self, node: Node) -> Node:
        if node.op == "placeholder":
            return self._attribute(node)
        if self._is_batch_multiple(node):
            multiple = size_at(node.meta["val"], 1)
            return self._batch if multiple == 1 else self._graph.call_function(operator.mul, (self._batch, multiple))
        copy = self._graph.node_copy(node, self._copies.__getitem__)
        copy.meta = {key: value for key, value in node.meta.items() if key in {"nn_module_stack", "stack_trace"}}
        return copy

    def _is_batch_multiple(self, node: Node) -> bool:
        """True for a size of the form N * batch, which comes from the batch whatever tensor the whole read it off."""
        value = node.meta.get("val")
        if not isinstance(value, torch.SymInt):
            return False
        ratio = sympy.simplify(value.node.expr / self._batch_symbol)
        return bool(ratio.is_Integer)

    def _attribute(self, node: Node) -> Node:
        """Copy a parameter, buffer or constant of the whole to an attribute of the shard of the same name."""
        spec = self._inputs[node.name]
        program = self._liveness.program
        if spec.kind is InputKind.USER_INPUT or spec.target is None:
            raise CutError(f"{node.name} is needed after the cut but does not cross it")  # a fault of liveness
        state = program.state_dict if spec.target in program.state_dict else program.constants
        self._attributes[spec.target] = state[spec.target]
        return self._graph.get_attr(spec.target)
