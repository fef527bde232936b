"""How much of what is nearest a quick search finds, and how much effort that takes."""

import numpy as np
from numpy.typing import NDArray

from shardline.tasks.request import Index

K = 10
WANTED = 0.99  # of the ten nearest


def recall(index: Index, exact: Index, vectors: NDArray[np.float32], effort: int | None = None) -> float:
    """The share of the ten nearest by `exact`, which looks at all, that a search finds.

    Args:
        vectors: [n, width], and each its own nearest where both hold it: that one does not count.
    """
    found, wanted = index.search(vectors, K + 1, effort), exact.search(vectors, K + 1)
    shares = [
        len(set(all_places[1:]) & set(places)) / max(1, len(all_places) - 1)
        for places, all_places in zip(
            ([*each.places.tolist()] for each in found), ([*each.places.tolist()] for each in wanted), strict=True
        )
    ]
    return float(np.mean(shares))


def least_effort(index: Index, exact: Index, vectors: NDArray[np.float32]) -> tuple[int, float]:
    """The least power of two with which enough is found, or all there is, and the recall that it gives."""
    effort = 1
    while True:
        reached = recall(index, exact, vectors, effort)
        if reached >= WANTED or effort >= index.most_effort:
            return effort, reached
        effort = min(2 * effort, index.most_effort)
