"""Input of a task: the model's outputs and everything needed to build the predictions."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from shardline.tasks.index import Index
from shardline.wire.errors import BundleError, RequestError, ShardlineError
from shardline.wire.typed import Scalar
from shardline.wire.v1 import CHAIN_PARAMETERS
from shardline.wire.view import View

Outputs = Mapping[str, NDArray[Any]]  # name -> [batch, …], in the model's order
Prediction = Any  # plain JSON, one for each instance
Options = Mapping[str, Scalar]  # what a model's outputs mean, as `Task.options` of its bundle has it

Shape = tuple[int | str, ...]  # of an output; the dimension "batch" is not a number


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Outputs of the last shard for one request, and what a task may need to build predictions.

    Attributes:
        outputs: name -> array [batch, …], in the model's order; the first dimension counts instances.
        labels: names of the model's classes, as the bundle has them; empty if it has none.
        options: what the model's outputs mean, as the bundle has it.
        parameters: what the request asks of the task.
        views: one for each instance; empty where the frame has none.
        input_size: height and width of the network's input in pixels; None where they are unknown.
        index: the bundle's similarity index; None where it has none.
    """

    outputs: Outputs
    labels: tuple[str, ...] = ()
    options: Options = field(default_factory=dict)
    parameters: Mapping[str, object] = field(default_factory=dict)
    views: tuple[View, ...] = ()
    input_size: tuple[int, int] | None = None
    index: Index | None = None


def check_names(parameters: Mapping[str, object], known: Collection[str]) -> None:
    """Check the names of a request's parameters.

    Raises:
        RequestError: a parameter that neither the task nor the chain knows.
    """
    unknown = sorted(parameters.keys() - set(known))
    if unknown:
        allowed = ", ".join(sorted(CHAIN_PARAMETERS.union(known)))
        raise RequestError(f"unknown parameters {', '.join(unknown)}; allowed: {allowed}")


def check_count(predictions: Sequence[Prediction], pictures: int) -> None:
    """Check that there is one prediction for each picture, before a reply is sent.

    Raises:
        ShardlineError: more or fewer.
    """
    if len(predictions) != pictures:
        raise ShardlineError(
            f"the model gave {len(predictions)} predictions for {pictures} pictures: its outputs must have one row for "
            "each picture; build another model"
        )


def refuse_options(options: Options) -> None:
    """Check the options of a task that takes none.

    Raises:
        BundleError: there are options.
    """
    if options:
        raise BundleError(f"the task takes no options; found {', '.join(sorted(options))}: build the bundle again")


def whole_number(parameters: Mapping[str, object], name: str, most: int | None = None) -> int | None:
    """Read a parameter that is a whole number from 1; None if the request does not have it.

    Raises:
        RequestError: it is no such number, or above `most`.
    """
    value = parameters.get(name)
    if name not in parameters:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or value < 1 or (most is not None and value > most):
        allowed = "a whole number from 1" + ("" if most is None else f" to {most}")
        raise RequestError(f"parameter {name} is {str(value)[:40]!r}; allowed: {allowed}")
    return value


def share(parameters: Mapping[str, object], name: str, default: float) -> float:
    """Read a parameter that is a number from 0 to 1; `default` if the request does not have it.

    Raises:
        RequestError: it is no such number.
    """
    value = parameters.get(name, default)
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= 1:
        raise RequestError(f"parameter {name} is {str(value)[:40]!r}; allowed: a number from 0 to 1")
    return float(value)


def not_finite(instance: int, output: str = "") -> ShardlineError:
    """The error of outputs that hold NaN or infinity."""
    where = f" in {output}" if output else ""
    return ShardlineError(
        f"the model gave NaN or infinity{where} for instance {instance}: its weights, its precision, or too large "
        "values in the request are at fault; `shardline verify` tells whether the bundle is"
    )


def matrix_classes(shapes: Sequence[Shape], _: Options) -> int | None:
    """Number of classes by the shapes of the outputs: second dimension of the first that is [batch, classes]."""
    found = next((shape[1] for shape in shapes if len(shape) == 2), None)
    return found if isinstance(found, int) else None


def _is_float(dtype: np.dtype[Any]) -> bool:
    return dtype.kind == "f" or dtype.name == "bfloat16"  # numpy does not know bfloat16, whose kind is "V"


def float_matrix(outputs: Outputs, dtype: DTypeLike, task: str, second: str) -> NDArray[Any]:
    """Select the first output that is floating point and of shape [batch, n], n > 0, as `dtype`.

    Args:
        outputs: name -> array [batch, …], in the model's order.
        dtype: of the result.
        task: name of the task, for the message.
        second: name of the second dimension, for the message.

    Raises:
        BundleError: there is no such output.
        ShardlineError: NaN or infinity in it.
    """
    for array in outputs.values():
        if array.ndim == 2 and array.shape[1] > 0 and _is_float(array.dtype):
            values: NDArray[Any] = array.astype(dtype)
            broken = np.flatnonzero(~np.isfinite(values).all(axis=1))
            if broken.size:
                raise not_finite(int(broken[0]))
            return values
    found = ", ".join(f"{name} {array.dtype}{list(array.shape)}" for name, array in outputs.items())
    raise BundleError(
        f"the model's outputs are {found or 'none'}; {task} needs float [batch, {second}]: build with --task "
        "detect, segment or raw, or write a task of your own (docs/add-a-task.md)"
    )
