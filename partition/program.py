"""Helpers for exported programs: run one, record node values, name dtypes, shorten errors, report progress."""

from collections.abc import Callable, Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind
from torch.fx import Interpreter, Node

Progress = Callable[[str], None]
"""Receives one short line of text per step of a long computation."""

MAX_BATCH = 1024  # of an exported program

# The dtypes that a frame can carry, by their names in safetensors.
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


def import_root() -> str:
    """Folder that the package `shardline` is imported from, for the PYTHONPATH of child processes."""
    spec = find_spec("shardline")
    assert spec is not None
    assert spec.origin is not None
    return str(Path(spec.origin).resolve().parents[1])


def silent(_: str) -> None:
    """Ignore progress."""


def one_line(exc: BaseException) -> str:
    """Text of an exception of torch's or of the user's code, short enough for an error message."""
    return " ".join(str(exc).split())[:300] or type(exc).__name__


def safetensors_dtype(dtype: torch.dtype) -> str:
    """Name of a torch dtype in safetensors: torch.float32 -> 'F32'."""
    return DTYPES[dtype]


def runnable(program: ExportedProgram) -> torch.fx.GraphModule:
    """Turn the program into a module that can be called.

    It has none of torch's guards: they repeat checks that a stage makes of every frame, forbid a batch of 1 where only
    its multiples cross, and are code that would come out of the archive.
    """
    return program.module(check_guards=False)


def lifted_arguments(program: ExportedProgram, pixels: torch.Tensor) -> list[torch.Tensor]:
    """Arguments of the graph, in order: parameters, buffers, constants, and pixels, uint8 [batch, channels, h, w]."""
    arguments = []
    for spec in program.graph_signature.input_specs:
        if spec.kind is InputKind.USER_INPUT:
            arguments.append(pixels)
        else:
            state: Any = program.state_dict if spec.target in program.state_dict else program.constants
            arguments.append(state[spec.target])
    return arguments


class _Recorder(Interpreter):
    """Interpreter that keeps the values of chosen nodes."""

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
    """Run the program on `pixels` (uint8 [batch, channels, height, width]) and return the named nodes' tensors."""
    recorder = _Recorder(program, names)
    with torch.inference_mode():
        recorder.run(*lifted_arguments(program, pixels))
    return recorder.values
