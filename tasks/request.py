"""What the last shard knows when it answers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from wire.view import View

Outputs = Mapping[str, NDArray[Any]]
Prediction = Any  # plain JSON, one an instance


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request's outputs and all that a task may need to make predictions of them.

    Attributes:
        outputs: name -> array, in the model's order; an instance is a place along the first dimension.
        labels: the names of the model's classes, as the bundle has them; none if it has none.
        parameters: what the request asks of the task.
        views: one an instance; none where whoever made the frame told nothing of the pictures.
    """

    outputs: Outputs
    labels: tuple[str, ...] = ()
    parameters: Mapping[str, object] = field(default_factory=dict)
    views: tuple[View, ...] = ()
