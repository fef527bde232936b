"""Read a request's inputs beside its pictures into arrays: tensors as JSON numbers or bytes, and further pictures.

Every value is checked against the model's own spec before it goes into a frame: kind, shape, dtype, range and finite
numbers. An error names the instance and the input.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shardline.predictors.picture import fit_picture
from shardline.storage.bundle import InputSpec, PictureSpec
from shardline.wire.errors import PictureError, RequestError
from shardline.wire.frame import named_dtype
from shardline.wire.limits import JSON_VALUES, Limits
from shardline.wire.v1 import PredictRequest, base64_bytes, describe, picture_bytes

Array = NDArray[Any]


def read_inputs(
    request: PredictRequest, specs: Sequence[InputSpec], picture: PictureSpec, limits: Limits
) -> dict[str, Array]:
    """Read the inputs of all instances: [batch, …] each, of the specs' dtypes and shapes.

    Args:
        request: has the values of every input that `specs` name, as JSON.
        picture: preprocessing of the further pictures, which is the first one's.

    Raises:
        PictureError: a further picture that cannot be decoded.
        RequestError: a value of another kind, shape, dtype or range.
    """
    read: dict[str, Array] = {}
    for spec in specs:
        wheres = [f"instance {index}: {spec.name}" for index in range(len(request.pictures))]
        values = zip(request.inputs[spec.name], wheres, strict=True)
        if spec.kind == "picture":
            read[spec.name] = np.stack([_pixels(value, picture, limits, where) for value, where in values])
        else:
            read[spec.name] = np.stack([_tensor(value, spec, where) for value, where in values])
    return read


def json_values(specs: Sequence[InputSpec], instances: int) -> int:
    """The most values that a request's JSON may hold: those of the inputs, and a fixed number of others."""
    return JSON_VALUES + instances * sum(math.prod(spec.shape) for spec in specs)


def _pixels(value: object, picture: PictureSpec, limits: Limits, where: str) -> Array:
    encoded = picture_bytes(value, where)
    try:
        return fit_picture(encoded, picture, limits).pixels
    except PictureError as exc:
        raise PictureError(f"{where}: {exc}") from exc


def _tensor(value: object, spec: InputSpec, where: str) -> Array:
    """One instance's tensor, of the spec's dtype and shape."""
    array = _from_bytes(value, spec, where) if isinstance(value, dict) else _from_numbers(value, spec, where)
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise RequestError(f"{where} holds infinity or NaN in {spec.type_text}; allowed are finite numbers")
    return array


def _from_bytes(value: dict[str, object], spec: InputSpec, where: str) -> Array:
    if list(value) != ["b64"] or not isinstance(value["b64"], str):
        raise _refused(where, describe(value), spec)
    data, dtype = base64_bytes(value["b64"], where), named_dtype(spec.dtype)
    size = dtype.itemsize * int(np.prod(spec.shape, dtype=np.int64))
    if len(data) != size:
        raise _refused(where, f"{len(data)} bytes, where {size} are needed", spec)
    if spec.dtype == "BOOL" and max(data) > 1:
        raise _refused(where, "a byte over 1", spec)
    return np.frombuffer(data, dtype.newbyteorder("<")).reshape(spec.shape).astype(dtype)


def _from_numbers(value: object, spec: InputSpec, where: str) -> Array:
    try:
        found = np.array(value)
    except (ValueError, OverflowError) as exc:
        raise _refused(where, "lists of different lengths, or nested too deeply", spec) from exc
    dtype = named_dtype(spec.dtype)
    if found.dtype.kind not in ("biu" if dtype.kind == "b" else "iuf" if dtype.kind == "f" else "iu"):
        raise _refused(where, _values(value, found), spec)
    if found.shape != spec.shape:
        raise _refused(where, f"numbers of the shape {list(found.shape)}", spec)
    least, most = (0, 1) if dtype.kind == "b" else _range(dtype)
    if found.min() < least or found.max() > most:
        raise _refused(where, f"a number outside of {least} to {most}", spec)
    with np.errstate(over="ignore"):  # infinity is refused by the caller
        return found.astype(dtype)


def _range(dtype: np.dtype[Any]) -> tuple[float, float]:
    if dtype.kind == "f":
        return -float("inf"), float("inf")
    limits = np.iinfo(dtype)
    return int(limits.min), int(limits.max)


def _values(value: object, found: Array) -> str:
    if not isinstance(value, list):
        return describe(value)
    kinds = {"b": "true and false", "f": "numbers with fractions", "U": "texts"}
    return f"a list with {kinds.get(found.dtype.kind, 'values that are no numbers of 64 bits')}"


def _refused(where: str, found: str, spec: InputSpec) -> RequestError:
    return RequestError(
        f"{where} is {found}; allowed is {spec.type_text}, as nested lists of numbers or as "
        '{"b64": "…"} with its little-endian bytes'
    )
