"""Raw outputs: the model's tensors as named JSON numbers, for regression and all outputs that no other task knows."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shardline.tasks.request import Options, Outputs, Request, check_names, not_finite
from shardline.wire.errors import BundleError, RequestError, TooLargeError
from shardline.wire.frame import is_float

PARAMETERS = frozenset({"outputs"})
NUMBERS = 200_000  # in a reply: as JSON at most 26 bytes each, together less than a router passes on


def reply(request: Request) -> list[dict[str, object]]:
    """Build one prediction for each instance: its part of every output.

    Parameters: "outputs", a list of the outputs' names: only these are in the reply.

    Args:
        request: outputs of any dtype and shape [batch, …].

    Returns:
        [{"outputs": {name: {"shape": [...], "dtype": "float32", "data": [numbers]}}}]: `shape` is without the batch,
        `data` is flat, the last dimension first to change. Booleans are 0 and 1; floats have the exact value of the
        output, in float64's shortest form.

    Raises:
        RequestError: an unknown parameter, or the name of no output.
        TooLargeError: more than 200,000 numbers.
        BundleError: the outputs are not all of one batch.
        ShardlineError: NaN or infinity, which JSON cannot express.
    """
    check_names(request.parameters, PARAMETERS)
    chosen = {name: request.outputs[name] for name in _names(request)}
    count = _batch(chosen)
    _check_numbers(chosen, count)
    return [
        {"outputs": {name: _values(name, array[instance], instance) for name, array in chosen.items()}}
        for instance in range(count)
    ]


def answers(outputs: Outputs, options: Options) -> None:
    """None: numbers of any meaning name no answer, so models are compared by their outputs."""


def comparable(outputs: Outputs, _: Options) -> Outputs:
    """The outputs that are floating point, [batch, …]: integers and booleans may change wholly where rounding does."""
    return {name: array for name, array in outputs.items() if is_float(array.dtype)} or outputs


def _names(request: Request) -> list[str]:
    """Names of the outputs that a request asks for, in the model's order."""
    if "outputs" not in request.parameters:
        return list(request.outputs)
    wanted = request.parameters["outputs"]
    allowed = ", ".join(request.outputs)
    if not isinstance(wanted, list) or not wanted:
        raise RequestError(f"parameter outputs is {str(wanted)[:40]!r}; allowed: a list of names of {allowed}")
    for name in wanted:
        if not isinstance(name, str) or name not in request.outputs:
            raise RequestError(f"parameter outputs has {str(name)[:40]!r}; allowed: {allowed}")
    return [name for name in request.outputs if name in wanted]


def _batch(outputs: Outputs) -> int:
    """Number of instances: the first dimension of every output."""
    counts = {array.shape[:1] for array in outputs.values()}
    if len(counts) != 1 or counts == {()}:
        found = ", ".join(f"{name} {list(array.shape)}" for name, array in outputs.items())
        raise BundleError(
            f"the model's outputs are {found or 'none'}; raw needs the batch as the first dimension of each: let the "
            "model return them so"
        )
    return int(counts.pop()[0])


def _check_numbers(outputs: Outputs, count: int) -> None:
    total = sum(array.size for array in outputs.values())
    if total > NUMBERS:
        found = ", ".join(f"{name} {list(array.shape)}" for name, array in outputs.items())
        raise TooLargeError(
            f"the outputs for {count} pictures are {total} numbers ({found}); allowed are {NUMBERS} in a reply: send "
            "fewer pictures, name some of the outputs by the parameter outputs, or build a model with smaller outputs"
        )


def _values(name: str, array: NDArray[Any], instance: int) -> Mapping[str, object]:
    """One instance's part of an output, of any dtype and shape, as JSON."""
    values = array
    if is_float(array.dtype):
        values = array.astype(np.float64)
        if not np.isfinite(values).all():
            raise not_finite(instance, name)
    elif array.dtype.kind == "b":
        values = array.astype(np.uint8)
    return {"shape": list(array.shape), "dtype": str(array.dtype), "data": values.ravel().tolist()}
