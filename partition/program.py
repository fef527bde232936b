"""Small tools on exported programs: run one and keep named nodes' values, dtypes' names, others' errors."""

from collections.abc import Iterable
from typing import Any

import torch
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind
from torch.fx import Interpreter, Node

# What a frame carries, under safetensors' names.
DTYPES = {
    torch.bool: "BOOL",
    torch.uint8: "U8",
    torch.int8: "I8",
    torch.int16: "I16",
    torch.int32: "I32",
    torch.int64: "I64",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.float32: "F32",
    torch.float64: "F64",
}


def one_line(exc: BaseException) -> str:
    """What an exception of torch's or of the user's code says, short enough for a message of ours."""
    return " ".join(str(exc).split())[:300] or type(exc).__name__


def safetensors_dtype(dtype: torch.dtype) -> str:
    """torch.float32 -> 'F32', safetensors' name."""
    return DTYPES[dtype]


def runnable(program: ExportedProgram) -> torch.fx.GraphModule:
    """The program as a module to call.

    Without torch's guards: they repeat checks that a stage makes of every frame, forbid a batch of 1 where only its
    multiples cross, and are code that would come out of the archive.
    """
    return program.module(check_guards=False)


def lifted_arguments(program: ExportedProgram, pixels: torch.Tensor) -> list[torch.Tensor]:
    """What the program's graph takes, in order: parameters, buffers, constants and the pixels."""
    arguments = []
    for spec in program.graph_signature.input_specs:
        if spec.kind is InputKind.USER_INPUT:
            arguments.append(pixels)
        else:
            state: Any = program.state_dict if spec.target in program.state_dict else program.constants
            arguments.append(state[spec.target])
    return arguments


class _Recorder(Interpreter):
    """Runs a graph node by node and keeps the values of the nodes that are asked for."""

    def __init__(self, program: ExportedProgram, names: Iterable[str]) -> None:
        super().__init__(program.graph_module)
        self.values: dict[str, torch.Tensor] = {}
        self._names = frozenset(names)

    def run_node(self, n: Node) -> Any:
        value = super().run_node(n)
        if n.name in self._names:
            self.values[n.name] = value
        return value


def node_values(program: ExportedProgram, pixels: torch.Tensor, names: Iterable[str]) -> dict[str, torch.Tensor]:
    """Run the program on `pixels` (uint8 [batch, 3, height, width]) and give the named nodes' tensors."""
    recorder = _Recorder(program, names)
    with torch.inference_mode():
        recorder.run(*lifted_arguments(program, pixels))
    return recorder.values
