"""Inputs of a model's forward beside the picture: found in its signature, and described by the option --input."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from inspect import Parameter, signature
from typing import TYPE_CHECKING, Any

import torch
from torch.fx import GraphModule

from shardline.partition.program import DTYPES
from shardline.storage.bundle import DTYPE_NAMES, InputSpec
from shardline.wire.errors import ModelError, UsageError

if TYPE_CHECKING:
    from shardline.partition.models import Model

_POSITIONAL = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Signature:
    """Parameters of a forward: the picture's first. `is_open` is True where it takes any name."""

    names: tuple[str, ...]
    required: tuple[str, ...]
    is_open: bool


def with_inputs(model: "Model", given: Sequence[InputSpec]) -> "Model":
    """Give a model the specs of its inputs beside the picture, in the order of its forward.

    Raises:
        UsageError: an input that forward does not take, or one that it needs and that is not given.
        ModelError: an exported program takes the input with another dtype or shape.
    """
    found = _signature(model.module)
    shaped = [replace(spec, shape=model.picture.shape) if spec.kind == "picture" else spec for spec in given]
    specs = {spec.name: spec for spec in shaped}
    picture, further = found.names[:1], found.names[1:]
    for name in specs:
        if name in picture:
            raise UsageError(
                f"--input {name}=…: {name} is the first parameter of {model.reference}, which is the picture"
            )
        if name not in further and not found.is_open:
            raise UsageError(f"--input {name}=…: {model.reference} takes {_and(found.names)}: name one of those")
    if missing := [name for name in found.required[1:] if name not in specs]:
        raise UsageError(
            f"{model.reference} takes {_and(found.names)}, and {_and(picture)} is the picture: say what the rest is by "
            f"{' '.join(f'--input {_suggested(model, name)}' for name in missing)}"
        )
    ordered = [specs[name] for name in further if name in specs]
    ordered += [spec for spec in shaped if spec not in ordered]
    _check_program(model, ordered)
    return replace(model, inputs=tuple(ordered))


def _signature(module: torch.nn.Module) -> _Signature:
    try:
        parameters = list(signature(module.forward).parameters.values())
    except (TypeError, ValueError):  # TorchScript's methods have none
        return _Signature(names=(), required=(), is_open=True)
    named = [given for given in parameters if given.kind in (*_POSITIONAL, Parameter.KEYWORD_ONLY)]
    kinds = {given.kind for given in parameters}
    return _Signature(
        names=tuple(given.name for given in named),
        required=tuple(given.name for given in named if given.default is Parameter.empty),
        is_open=Parameter.VAR_KEYWORD in kinds,
    )


def program_values(module: torch.nn.Module) -> dict[str, Any]:
    """Fake tensors of an exported program's inputs by name, the picture's first; empty for another module."""
    if not isinstance(module, GraphModule):
        return {}
    names = signature(module.forward).parameters
    nodes = [node for node in module.graph.nodes if node.op == "placeholder"]
    return dict(zip(names, (node.meta.get("val") for node in nodes), strict=False))


def _suggested(model: "Model", name: str) -> str:
    """Text of --input for a missing input: a program's own dtype and shape, else an example."""
    value = program_values(model.module).get(name)
    dtype = DTYPES.get(value.dtype, "") if isinstance(value, torch.Tensor) else ""
    if value is None or dtype not in DTYPE_NAMES.values():
        height, width = model.picture.height, model.picture.width
        return f"{name}=DTYPE[SHAPE of one instance], e.g. {name}=float32[1,{height},{width}], or {name}=picture"
    shape = tuple(value.shape[1:])
    spec = InputSpec(name=name, kind="tensor", dtype=dtype, shape=shape)
    return f"{name}=picture" if shape == model.picture.shape else str(spec)


def _check_program(model: "Model", specs: Sequence[InputSpec]) -> None:
    values = program_values(model.module)
    for spec in specs:
        value = values.get(spec.name)
        if value is None:
            continue
        dtype = "F32" if spec.kind == "picture" and not model.takes_pixels else spec.dtype
        if (DTYPES.get(value.dtype), tuple(value.shape[1:])) != (dtype, spec.shape):
            raise ModelError(
                f"{model.reference} takes {spec.name} as {value.dtype} {list(value.shape[1:])}, not as {spec}: write "
                f"--input {_suggested(model, spec.name)}"
            )


def _and(names: Sequence[str]) -> str:
    return " and ".join((", ".join(names[:-1]), names[-1]) if len(names) > 1 else names)
