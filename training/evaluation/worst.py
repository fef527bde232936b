"""The worst of all that went wrong, as many as will be looked at."""

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

Points = tuple[tuple[float, float], ...]
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """One picture of a contact sheet. `pixels` uint8 [h, w, 3]; the outlines are in pixels of these."""

    pixels: NDArray[np.uint8]
    title: str
    true_outline: Points | None = None
    found_outline: Points | None = None


@dataclass(slots=True, kw_only=True)
class Worst(Generic[T]):
    """Keeps the `most` worst of all that are added; of equally bad ones the first."""

    most: int
    _heap: list[tuple[float, int, T]] = field(default_factory=list)
    _count: int = 0

    def add(self, badness: float, make: Callable[[], T]) -> None:
        """`make` is called only if it is among the worst so far."""
        if len(self._heap) >= self.most and (not self._heap or badness <= self._heap[0][0]):
            return
        self._count += 1
        put = heapq.heappush if len(self._heap) < self.most else heapq.heapreplace
        put(self._heap, (badness, -self._count, make()))

    def worst_first(self) -> list[T]:
        return [kept for _, _, kept in sorted(self._heap, key=lambda each: (-each[0], -each[1]))]
