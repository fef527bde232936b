"""Input of a task: the model's outputs and everything needed to build the predictions."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from shardline.tasks.index import Index
from shardline.wire.errors import RequestError
from shardline.wire.v1 import CHAIN_PARAMETERS
from shardline.wire.view import View

Outputs = Mapping[str, NDArray[Any]]  # name -> [batch, …], in the model's order
Prediction = Any  # plain JSON, one for each instance


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Outputs of the last shard for one request, and what a task may need to build predictions.

    Attributes:
        outputs: name -> array [batch, …], in the model's order; the first dimension counts instances.
        labels: names of the model's classes, as the bundle has them; empty if it has none.
        parameters: what the request asks of the task.
        views: one for each instance; empty where the frame has none.
        index: the bundle's similarity index; None where it has none.
    """

    outputs: Outputs
    labels: tuple[str, ...] = ()
    parameters: Mapping[str, object] = field(default_factory=dict)
    views: tuple[View, ...] = ()
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
