"""An exported program as a plain graph of calls, which TorchScript's two compilers take.

An exported program's own module checks its inputs in hooks that no tracer follows, and calls operations by overload,
which TorchScript does not know. So the graph is copied: scripted, an operation is called by its name and finds its
overload by its arguments; traced, sizes are asked of the tensor itself, and what takes sizes is a tensor's method, so
that the tracer sees where they come from and does not burn them in.
"""

from typing import Literal

import torch
from torch.export import ExportedProgram
from torch.fx import Graph, GraphModule, Node

from shardline.partition.program import runnable

Form = Literal["scripted", "traced"]

_SIZED_METHODS = {"view": "view", "_unsafe_view": "reshape", "reshape": "reshape", "expand": "expand"}


def plain_module(program: ExportedProgram, form: Form) -> GraphModule:
    """The program's module with its weights, without hooks and overloads; it gives a tuple."""
    module = runnable(program)
    graph = Graph()
    graph.output(graph.graph_copy(module.graph, {}))
    for node in graph.nodes:
        if node.op == "call_function" and isinstance(node.target, torch._ops.OpOverload):
            _rename(node, node.target, form)
    graph.lint()
    return GraphModule(module, graph)


def _rename(node: Node, operation: torch._ops.OpOverload, form: Form) -> None:
    method = "size" if operation is torch.ops.aten.sym_size.int else _SIZED_METHODS.get(operation._opname)
    if form == "traced" and method is not None and operation.namespace == "aten":
        node.op, node.target = "call_method", method
    else:
        node.target = operation.overloadpacket
        # a bundle's programs are on the CPU, where this says nothing; TorchScript cannot read how it would be written
        node.kwargs = {key: value for key, value in node.kwargs.items() if not isinstance(value, torch.device)}
