"""Exact search for the best path through the graph of possible stages, and the limits that stages must keep.

Edges 0 … n-1 are the positions where a stage can begin or end (`partition/costs.py`). A path goes from the first edge
to the last in as many steps as there are stages; step k from edge i to edge j costs `costs[k][i, j]`, infinity where it
is not allowed. A path's cost is its largest step (`np.maximum`) or the sum of its steps (`np.add`). The search is
dynamic programming over arrays [edges, edges]: milliseconds for an objective, bytes for a limit.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from shardline.wire.limits import MIB, Limits

if TYPE_CHECKING:
    from shardline.partition.costs import Costs

Matrix = NDArray[np.float64]

FRAME_OVERHEAD_BYTES = 16 * 1024  # upper bound of a frame's header and metadata


class Objective(StrEnum):
    """The figure that a plan minimises."""

    THROUGHPUT = "throughput"  # the slowest stage, one batch: it alone limits the pictures per second
    LATENCY = "latency"  # the sum of all stages, a single picture


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Machine of one stage: a measured device, `speed` times as fast, with this much memory (None for any amount)."""

    device: str = "cpu"
    speed: float = 1.0
    memory_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """Objective and limits of a plan, with the placement of each stage."""

    places: tuple[Place, ...]
    objective: Objective = Objective.THROUGHPUT
    limits: Limits = field(default_factory=Limits)

    @property
    def stages(self) -> int:
        return len(self.places)


@dataclass(frozen=True, slots=True)
class Path:
    """Edges between the stages, in rising order, and the cost of the path."""

    cost: float
    edges: tuple[int, ...]


def best_path(costs: Sequence[Matrix], combine: np.ufunc) -> Path | None:
    """Find the cheapest path through `costs`, float64 [edges, edges] per stage; None if none is allowed."""
    return best_by_penalty(costs, combine, np.zeros(len(costs[0]), np.int64))[0]


def best_by_penalty(costs: Sequence[Matrix], combine: np.ufunc, penalty: NDArray[np.int64]) -> list[Path | None]:
    """Find the cheapest path for each number of penalties from 0 to stages-1; None where there is none.

    Args:
        costs: float64 [edges, edges] per stage.
        penalty: int64 [edges], 0 or 1 for each inner edge of a path.

    The time is O(stages² × edges²).
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
    """Extend all paths by one stage.

    Returns the cheapest cost of each edge, float64 [penalties, edges], and the edge before it, int64 of the same shape.
    """
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
    """Count the paths whose steps are all allowed: bool [edges, edges] per stage."""
    counts = np.zeros(len(allowed[0]), object)
    counts[0] = 1
    for step in allowed[:-1]:
        counts = np.array([sum(counts[step[:, end]].tolist()) for end in range(len(counts))], object)
    return int(sum(counts[allowed[-1][:, -1]].tolist()))


def model_ms(costs: "Costs", place: Place, objective: Objective) -> Matrix:
    """Milliseconds of the model alone for every stage with this placement: float64 [edges, edges]."""
    times = costs.times[place.device]
    sums = np.array(times.batch_ms if objective is Objective.THROUGHPUT else times.single_ms)
    return np.asarray((sums[None, :] - sums[:, None]) / place.speed)


def hop_ms(costs: "Costs", objective: Objective) -> Matrix:
    """Milliseconds of overhead for every stage: float64 [edges, edges]."""
    pictures = costs.batch if objective is Objective.THROUGHPUT else 1
    bodies = np.array(costs.body_bytes, np.float64) * pictures
    both = (bodies[:, None] + bodies[None, :]) / 2
    return np.asarray(costs.hop.fixed_ms + costs.hop.per_mebibyte_ms * both / MIB)


def stage_ms(costs: "Costs", goal: Goal, objective: Objective | None = None) -> list[Matrix]:
    """Milliseconds of each of the goal's stages, float64 [edges, edges]; infinite where no stage is possible."""
    objective = objective or goal.objective
    known: dict[tuple[str, float], Matrix] = {}
    for place in goal.places:
        if (place.device, place.speed) not in known:
            whole = model_ms(costs, place, objective) + hop_ms(costs, objective)
            known[place.device, place.speed] = np.where(_forward(costs), whole, np.inf)
    return [known[place.device, place.speed] for place in goal.places]


def memory_bytes(costs: "Costs") -> NDArray[np.int64]:
    """Bytes of every stage's weights, peak of tensors, input and output bodies for one batch: int64 [edges, edges]."""
    bodies = np.array(costs.body_bytes, np.int64) * costs.batch
    return costs.weight_bytes + costs.peak_bytes + bodies[:, None] + bodies[None, :]


def request_bytes(costs: "Costs") -> NDArray[np.int64]:
    """Bytes of the larger of a stage's input and output bodies, one batch: int64 [edges, edges]."""
    bodies = np.array(costs.body_bytes, np.int64) * costs.batch
    return np.maximum(bodies[:, None], bodies[None, :])


def fits_request(costs: "Costs", goal: Goal) -> NDArray[np.bool_]:
    """True for the edges whose bodies fit a request: bool [edges]. The input passes as many pictures as fit."""
    bodies = np.array(costs.body_bytes, np.int64) * costs.batch
    fits = bodies + FRAME_OVERHEAD_BYTES <= goal.limits.request_bytes
    fits[[0, -1]] = True
    return np.asarray(fits)


def within_request(costs: "Costs", goal: Goal) -> NDArray[np.bool_]:
    """True for the stages that begin and end where requests fit: bool [edges, edges]."""
    fits = fits_request(costs, goal)
    return np.asarray(_forward(costs) & fits[:, None] & fits[None, :])


def within_memory(costs: "Costs", goal: Goal) -> list[NDArray[np.bool_]]:
    """True where a stage fits the memory of its placement: bool [edges, edges], for each stage of the goal."""
    held = memory_bytes(costs)
    return [
        _forward(costs) if place.memory_bytes is None else _forward(costs) & (held <= place.memory_bytes)
        for place in goal.places
    ]


def allowed(costs: "Costs", goal: Goal) -> list[NDArray[np.bool_]]:
    """True where a stage keeps all limits: bool [edges, edges], for each stage of the goal."""
    requests = within_request(costs, goal)
    return [requests & memory for memory in within_memory(costs, goal)]


def forbidding(costs: list[Matrix], allowed: list[NDArray[np.bool_]]) -> list[Matrix]:
    """Set costs to infinity where a step is not allowed; both have one array [edges, edges] per stage."""
    return [np.where(steps, cost, np.inf) for cost, steps in zip(costs, allowed, strict=True)]


def _forward(costs: "Costs") -> NDArray[np.bool_]:
    return np.triu(np.ones((len(costs.body_bytes),) * 2, bool), 1)
