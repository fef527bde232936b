"""What the last shard knows when it answers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from shardline.tasks.entries import Entries
from shardline.wire.view import View

Outputs = Mapping[str, NDArray[Any]]
Prediction = Any  # plain JSON, one an instance


class Found(NamedTuple):
    """The nearest of one vector, the nearest first."""

    distances: NDArray[np.float64]  # [k] or fewer
    places: NDArray[np.int64]  # [k], in the index's entries


class Index(Protocol):
    """What finds the nearest vectors. tasks/retrieve.py has the one that a bundle holds."""

    @property
    def entries(self) -> Entries: ...

    @property
    def most_effort(self) -> int:
        """The largest effort that means anything; 0 where there is nothing to choose."""
        ...

    def search(self, vectors: NDArray[Any], k: int, effort: int | None = None) -> list[Found]:
        """[n, width] -> the k nearest of each, or all where there are fewer."""
        ...

    def search_all(self, vectors: NDArray[Any], k: int) -> list[Found]:
        """As `search`, with every vector looked at."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request's outputs and all that a task may need to make predictions of them.

    Attributes:
        outputs: name -> array, in the model's order; an instance is a place along the first dimension.
        labels: the names of the model's classes, as the bundle has them; none if it has none.
        parameters: what the request asks of the task.
        views: one an instance; none where whoever made the frame told nothing of the pictures.
        index: the bundle's; None where it has none.
    """

    outputs: Outputs
    labels: tuple[str, ...] = ()
    parameters: Mapping[str, object] = field(default_factory=dict)
    views: tuple[View, ...] = ()
    index: Index | None = None
