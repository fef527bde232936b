"""Raw outputs in a reply: named tensors, as a compact table for a terminal."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from shardline.client.terminal import TerminalStyle, shorten

_NAME_COLUMNS = 32
_SHOWN_VALUES = 6  # of a tensor; of a longer one so many are shown, and its range


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedTensor:
    """One output of the model: its name, shape, dtype and flat values; None stands for NaN or infinity."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    values: Sequence[float | None]


def read_tensors(prediction: object) -> tuple[NamedTensor, ...] | None:
    """Read one picture's outputs; None if it is another task's prediction."""
    outputs = prediction.get("outputs") if isinstance(prediction, dict) else None
    if not isinstance(outputs, dict):
        return None
    read = [_read(name, tensor) for name, tensor in outputs.items()]
    return None if None in read else tuple(tensor for tensor in read if tensor is not None)


def tensor_lines(tensors: Sequence[NamedTensor], style: TerminalStyle) -> list[str]:
    """A line for each tensor: name, dtype, shape and values, or the first values and the range of many."""
    if not tensors:
        return ["  no output"]
    names = [shorten(tensor.name, _NAME_COLUMNS) for tensor in tensors]
    kinds = [f"{shorten(tensor.dtype, 12)} {list(tensor.shape)}" for tensor in tensors]
    name_width, kind_width = max(map(len, names)), max(map(len, kinds))
    return [
        f"  {style.bold(f'{name:<{name_width}}')}  {style.faint(f'{kind:<{kind_width}}')}  {_summary(tensor)}".rstrip()
        for name, kind, tensor in zip(names, kinds, tensors, strict=True)
    ]


def _summary(tensor: NamedTensor) -> str:
    shown = "  ".join(_number(value) for value in tensor.values[:_SHOWN_VALUES])
    if len(tensor.values) <= _SHOWN_VALUES:
        return shown
    finite = [value for value in tensor.values if value is not None]
    span = f"  ({min(finite):.4g} to {max(finite):.4g})" if finite else ""
    return f"{shown}  …{span}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _read(name: object, tensor: object) -> NamedTensor | None:
    if not isinstance(name, str) or not isinstance(tensor, dict):
        return None
    shape, dtype, data = (tensor.get(key) for key in ("shape", "dtype", "data"))
    if not isinstance(shape, list) or not isinstance(dtype, str) or not isinstance(data, list):
        return None
    if not all(isinstance(size, int) for size in shape) or math.prod(shape) != len(data):
        return None
    if not all(value is None or isinstance(value, int | float) for value in data):
        return None
    return NamedTensor(name=name, shape=tuple(shape), dtype=dtype, values=data)
