"""The best way through a graph of stages, exactly, by dynamic programming.

Edges 0 … n-1 are the places where a stage can begin or end. A path goes from the first edge to the last in as many
steps as there are stages; step k from edge i to edge j costs `costs[k][i, j]`, infinity where it is not allowed. A
path's cost is the steps' largest (`np.maximum`) or their sum (`np.add`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Path:
    """The edges that lie between the stages, rising, and what the path costs."""

    cost: float
    edges: tuple[int, ...]


def best_path(costs: Sequence[Matrix], combine: np.ufunc) -> Path | None:
    """The cheapest path, or None if none is allowed."""
    return best_by_penalty(costs, combine, np.zeros(len(costs[0]), np.int64))[0]


def best_by_penalty(costs: Sequence[Matrix], combine: np.ufunc, penalty: NDArray[np.int64]) -> list[Path | None]:
    """For p = 0 … stages-1, the cheapest path of those whose inner edges have just p penalties (0 or 1 each) in all.

    O(stages² × edges²).
    """
    kinds = len(costs) if penalty.any() else 1
    best = np.full((kinds, len(penalty)), np.inf)
    best[0, 0] = 0.0
    steps = []
    for cost in costs[:-1]:
        best, came_from = _step(best, cost, combine, penalty)
        steps.append(came_from)
    ends = combine(best, costs[-1][:, -1])
    return [_trace(steps, penalty, ends, p) for p in range(kinds)]


def _step(
    best: Matrix, cost: Matrix, combine: np.ufunc, penalty: NDArray[np.int64]
) -> tuple[Matrix, NDArray[np.int64]]:
    """Go one stage further: the cheapest way to each edge, and the edge that it comes from."""
    found = np.full_like(best, np.inf)
    came_from = np.full(best.shape, -1, np.int64)
    for p in range(len(best)):
        through = combine(best[p][:, None], cost)
        sources = through.argmin(axis=0)
        values = through[sources, np.arange(len(sources))]
        for extra in (0, 1):
            if p + extra < len(best):
                here = (penalty == extra) & np.isfinite(values)
                found[p + extra, here] = values[here]
                came_from[p + extra, here] = sources[here]
    return found, came_from


def _trace(steps: Sequence[NDArray[np.int64]], penalty: NDArray[np.int64], ends: Matrix, p: int) -> Path | None:
    at = int(ends[p].argmin())
    cost = float(ends[p, at])
    if not np.isfinite(cost):
        return None
    edges = []
    for came_from in reversed(steps):
        edges.append(at)
        at, p = int(came_from[p, at]), p - int(penalty[at])
    return Path(cost, tuple(reversed(edges)))


def count_paths(allowed: Sequence[NDArray[np.bool_]]) -> int:
    """How many paths there are whose every step is allowed."""
    ways = np.zeros(len(allowed[0]), object)
    ways[0] = 1
    for step in allowed[:-1]:
        ways = np.array([sum(ways[step[:, end]].tolist()) for end in range(len(ways))], object)
    return int(sum(ways[allowed[-1][:, -1]].tolist()))
