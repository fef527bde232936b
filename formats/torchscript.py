"""A bundle's shards and whole as TorchScript, scripted and traced: proved after a round trip, equal to the bit.

Both forms come from the exported program, so neither knows the model's Python. Scripted code names sizes and is for any
batch by its nature; traced code is what one run did, with sizes kept where they come from the input. Each is saved,
loaded again, and run on real inputs at batches 1, 2 and 3, twice, since TorchScript's executor optimises on the second
call; what is not equal to the exported program to the bit is not written.

torch has deprecated TorchScript. TorchServe and Triton's PyTorch backend take it, which is all that it is here for.
"""

import json
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from shardline.formats.folder import writing_folder
from shardline.formats.graph import Form, plain_module
from shardline.formats.parts import BATCHES, TRACED_BATCH, Part, Tensors, parts_of
from shardline.partition.planning import Progress
from shardline.partition.program import one_line
from shardline.wire.errors import FormatError

FORMS: tuple[Form, ...] = ("scripted", "traced")
PARTS_FILE = "parts.json"
_RUNS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """One part in one form. `path` is relative to the folder; None where the compiler did not take it, for `reason`."""

    part: str
    form: Form
    path: str | None
    reason: str = ""


def export_torchscript(folder: Path, out: Path, say: Progress = lambda _: None) -> list[Script]:
    """Write the bundle's parts into `out`: FORM/NAME.pt each, and parts.json, which says what goes in and comes out.

    Raises:
        BundleError: the bundle cannot be read.
        FormatError: a part that neither form takes, or `out` is there already.
    """
    scripts: list[Script] = []
    described = []
    with writing_folder(out) as draft:
        for part in parts_of(folder):
            say(f"{part.name} as TorchScript")
            made = [_try(part, form, draft) for form in FORMS]
            if not any(each.path for each in made):
                raise FormatError(f"{part.name} has no TorchScript: {'; '.join(each.reason for each in made)}")
            scripts += made
            described.append(_described(part, made))
        document = {"batches_compared": BATCHES, "difference": 0.0, "parts": described}
        (draft / PARTS_FILE).write_text(json.dumps(document, indent=1) + "\n")
    return scripts


def save_torchscript(part: Part, path: Path) -> Form:
    """Save the part in the first form that takes it, and say which that was.

    Raises:
        FormatError: none does.
    """
    reasons = []
    for form in FORMS:
        try:
            save_form(part, form, path)
            return form
        except FormatError as exc:
            reasons.append(str(exc))
    raise FormatError("; ".join(reasons))


def save_form(part: Part, form: Form, path: Path) -> None:
    """Compile, save, load again and compare.

    Raises:
        FormatError: TorchScript does not take the part, or what it makes of it is not equal to the bit; no file stays.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with _deprecated(), torch.no_grad():
            module = plain_module(part.program, form)
            script: Any = torch.jit.script(module) if form == "scripted" else _traced(module, part)
            torch.jit.save(script, str(path))
        script = load_torchscript(path)
        differences = list(_differences(script, part))
    except Exception as exc:  # two compilers, a saver, a loader and an interpreter raise whatever they like
        path.unlink(missing_ok=True)
        raise FormatError(f"{part.name} {form}: {one_line(exc)}") from exc
    if differences:
        path.unlink()
        raise FormatError(f"{part.name} {form} differs from the shard: {'; '.join(differences)}")


def load_torchscript(path: Path) -> Any:
    """The script in a file, on the CPU."""
    with _deprecated():
        return torch.jit.load(str(path), map_location="cpu")


@contextmanager
def _deprecated() -> Iterator[None]:
    """torch says on every call that TorchScript is deprecated; the docs say it once."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _traced(module: torch.nn.Module, part: Part) -> Any:
    inputs, _ = part.examples[TRACED_BATCH]
    return torch.jit.trace(module, inputs, check_trace=False)  # compared below


def _differences(script: Any, part: Part) -> Iterator[str]:
    for batch, (inputs, expected) in part.examples.items():
        for _ in range(_RUNS):
            with torch.inference_mode():
                found: Tensors = script(*inputs)
            yield from (f"batch {batch}: {each}" for each in _unequal(found, expected, part))


def _unequal(found: Sequence[torch.Tensor], expected: Sequence[torch.Tensor], part: Part) -> Iterator[str]:
    for spec, one, other in zip(part.stage.outputs, found, expected, strict=True):
        if one.shape != other.shape or one.dtype != other.dtype:
            yield f"{spec.name} is {one.dtype}{list(one.shape)}, not {other.dtype}{list(other.shape)}"
        elif not torch.equal(one, other):
            yield f"{spec.name} by up to {(one.double() - other.double()).abs().max():.3g}"


def _try(part: Part, form: Form, draft: Path) -> Script:
    path = f"{form}/{part.name}.pt"
    try:
        save_form(part, form, draft / path)
    except FormatError as exc:
        return Script(part=part.name, form=form, path=None, reason=str(exc))
    return Script(part=part.name, form=form, path=path)


def _described(part: Part, scripts: Sequence[Script]) -> dict[str, Any]:
    return {
        "name": part.name,
        "files": {each.form: each.path for each in scripts if each.path},
        "inputs": [asdict(spec) for spec in part.stage.inputs],
        "outputs": [asdict(spec) for spec in part.stage.outputs],
    }
