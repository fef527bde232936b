"""Export a bundle's shards and whole as TorchScript, scripted and traced, equal to the bit after a round trip.

Both forms come from the exported program, so neither knows the model's Python. Scripted code names sizes and is for any
batch by its nature; traced code repeats one run, with sizes kept where they come from the input. Each is saved, loaded
again, and run on real inputs at batches 1, 2 and 3, twice, since TorchScript's executor optimises on the second call. A
form that is not equal to the exported program to the bit is not written.

An exported program's own module checks its inputs in hooks that no tracer follows, and calls operations by overload,
which TorchScript does not know. So the graph is copied: when scripted, an operation is called by its name and finds its
overload by its arguments; when traced, sizes are asked of the tensor itself, and an operation that takes sizes is a
method of the tensor, so that the tracer sees where they come from and does not make constants of them.

torch has deprecated TorchScript. It is supported here because TorchServe and Triton's PyTorch backend take it.
"""

import io
import json
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch.export import ExportedProgram
from torch.fx import Graph, GraphModule, Node

from shardline.formats.parts import BATCHES, TRACED_BATCH, ExportPart, read_parts, writing_folder
from shardline.formats.script_check import script_differences
from shardline.partition.program import Progress, one_line, runnable, silent
from shardline.wire.errors import FormatError

Form = Literal["scripted", "traced"]

_SIZED_METHODS = {"view": "view", "_unsafe_view": "reshape", "reshape": "reshape", "expand": "expand"}

FORMS: tuple[Form, ...] = ("scripted", "traced")
PARTS_FILE = "parts.json"


def plain_module(program: ExportedProgram, form: Form) -> GraphModule:
    """Copy the program's module with its weights, without hooks and overloads; it returns a tuple."""
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
        # a bundle's programs are on the CPU, which is the default; TorchScript cannot parse a written device
        node.kwargs = {key: value for key, value in node.kwargs.items() if not isinstance(value, torch.device)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """Result of one part in one form. `path` is relative to the folder; None where it was refused for `reason`."""

    part: str
    form: Form
    path: str | None
    reason: str = ""


def export_torchscript(folder: Path, out: Path, *, progress: Progress = silent) -> list[Script]:
    """Write the bundle's parts into `out`: FORM/NAME.pt each, and parts.json, which describes inputs and outputs.

    Raises:
        BundleError: the bundle cannot be read.
        FormatError: a part that neither form takes.
        FileError: `out` exists already.
    """
    scripts: list[Script] = []
    described = []
    with writing_folder(out) as draft:
        for part in read_parts(folder):
            progress(f"{part.name} as TorchScript")
            forms = [_try(part, form, draft) for form in FORMS]
            if not any(script.path for script in forms):
                raise FormatError(f"{part.name} has no TorchScript: {'; '.join(script.reason for script in forms)}")
            scripts += forms
            described.append(_described(part, forms))
        document = {"batches_compared": BATCHES, "difference": 0.0, "parts": described}
        (draft / PARTS_FILE).write_text(json.dumps(document, indent=1) + "\n")
    return scripts


def save_torchscript(part: ExportPart, path: Path) -> Form:
    """Save the part in the first form that takes it, and return that form.

    Raises:
        FormatError: neither form takes it.
    """
    reasons = []
    for form in FORMS:
        try:
            save_form(part, form, path)
            return form
        except FormatError as exc:
            reasons.append(str(exc))
    raise FormatError("; ".join(reasons))


def save_form(part: ExportPart, form: Form, path: Path) -> None:
    """Compile a part, save it, load it again and compare its outputs.

    Raises:
        FormatError: TorchScript does not take the part, or the result is not equal to the bit; no file is left.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with _deprecated(), torch.no_grad():
            module = plain_module(part.program, form)
            script: Any = torch.jit.script(module) if form == "scripted" else _traced(module, part)
            buffer = io.BytesIO()  # torch's own writer ends the process where the disk is full
            torch.jit.save(script, buffer)
        path.write_bytes(buffer.getbuffer())
        differences = script_differences(path, part.examples, [spec.name for spec in part.stage.outputs])
    except OSError:
        path.unlink(missing_ok=True)
        raise
    except Exception as exc:  # two compilers, a saver, a loader and an interpreter raise whatever they like
        path.unlink(missing_ok=True)
        raise FormatError(f"{part.name} {form}: {one_line(exc)}") from exc
    if differences:
        path.unlink()
        raise FormatError(f"{part.name} {form} differs from the shard: {'; '.join(differences)}")


def load_torchscript(path: Path) -> Any:
    """Load a TorchScript file on the CPU."""
    with _deprecated():
        return torch.jit.load(str(path), map_location="cpu")


@contextmanager
def _deprecated() -> Iterator[None]:
    """Silence torch's warnings that TorchScript is deprecated; the documentation mentions it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _traced(module: torch.nn.Module, part: ExportPart) -> Any:
    inputs, _ = part.examples[TRACED_BATCH]
    return torch.jit.trace(module, inputs, check_trace=False)  # compared below


def _try(part: ExportPart, form: Form, draft: Path) -> Script:
    path = f"{form}/{part.name}.pt"
    try:
        save_form(part, form, draft / path)
    except FormatError as exc:
        return Script(part=part.name, form=form, path=None, reason=str(exc))
    return Script(part=part.name, form=form, path=path)


def _described(part: ExportPart, scripts: Sequence[Script]) -> dict[str, Any]:
    return {
        "name": part.name,
        "files": {script.form: script.path for script in scripts if script.path},
        "inputs": [asdict(spec) for spec in part.stage.inputs],
        "outputs": [asdict(spec) for spec in part.stage.outputs],
    }
