"""Helpers for exported programs: run one, record node values, name dtypes, shorten errors, report progress."""

import textwrap
from collections.abc import Callable, Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind
from torch.fx import Interpreter, Node

from shardline.partition.sampling import sample_inputs

Progress = Callable[[str], None]
"""Receives one short line of text per step of a long computation."""

MAX_BATCH = 1024  # of an exported program
_LINE = 300  # characters of an exception that a message repeats

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
    text = " ".join(str(exc).split()) or type(exc).__name__
    shortened = textwrap.shorten(text, _LINE, placeholder=" …")
    return shortened if len(shortened) > _LINE // 2 or shortened == text else text[: _LINE - 1] + "…"  # one long word


def safetensors_dtype(dtype: torch.dtype) -> str:
    """Name of a torch dtype in safetensors: torch.float32 -> 'F32'."""
    return DTYPES[dtype]


def runnable(program: ExportedProgram) -> torch.fx.GraphModule:
    """Turn the program into a module that can be called.

    It has none of torch's guards: they repeat checks that a stage makes of every frame, forbid a batch of 1 where only
    its multiples cross, and are code that would come out of the archive.
    """
    return program.module(check_guards=False)


def input_nodes(program: ExportedProgram) -> tuple[Node, ...]:
    """Nodes of the program's inputs, in the order of its signature: the pixels first."""
    by_name = {node.name: node for node in program.graph.nodes if node.op == "placeholder"}
    return tuple(by_name[name] for name in program.graph_signature.user_inputs if isinstance(name, str))


def program_inputs(program: ExportedProgram, pixels: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Inputs to run a program with: pixels, uint8 [batch, channels, h, w], and sample values [batch, …] of the others.

    The sample values follow from the pixels (`partition/sampling.py`), so that all that run a model on the same pixels
    run it on the same inputs.
    """
    others = [node.meta["val"] for node in input_nodes(program)[1:]]
    types = [(torch.empty((), dtype=value.dtype).numpy().dtype, tuple(value.shape[1:])) for value in others]
    return pixels, *(torch.from_numpy(value).to(pixels.device) for value in sample_inputs(pixels.cpu().numpy(), types))


def lifted_arguments(program: ExportedProgram, inputs: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Arguments of the graph, in order: parameters, buffers, constants, and the inputs, [batch, …] each."""
    arguments = []
    given = iter(inputs)
    for spec in program.graph_signature.input_specs:
        if spec.kind is InputKind.USER_INPUT:
            arguments.append(next(given))
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
    """Run the program on `program_inputs` of `pixels`, uint8 [batch, channels, h, w]; returns named nodes' tensors."""
    recorder = _Recorder(program, names)
    with torch.inference_mode():
        recorder.run(*lifted_arguments(program, program_inputs(program, pixels)))
    return recorder.values
