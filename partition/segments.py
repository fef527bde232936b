"""Every stage that there could be, as arrays over (where it begins, where it ends), and what a plan has to keep to.

Edges are those of `partition/costs.py`. All that a search needs stands here: times for an objective, bytes for a limit.
"""

from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from shardline.partition.costs import Costs
from shardline.partition.search import Matrix
from shardline.wire.limits import Limits

# What a frame's header and metadata may add to its tensors.
FRAME_OVERHEAD_BYTES = 16 * 1024
_MEBIBYTE = 1024**2


class Objective(StrEnum):
    """What is made as small as can be."""

    THROUGHPUT = "throughput"  # the slowest stage, one batch: it alone decides how many pictures pass
    LATENCY = "latency"  # the sum of all stages, one picture alone


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where one stage runs: on a device that was measured, `speed` times as fast, with so much memory or any."""

    device: str = "cpu"
    speed: float = 1.0
    memory_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """What is asked of a plan; `places` has one for each stage."""

    places: tuple[Place, ...]
    objective: Objective = Objective.THROUGHPUT
    limits: Limits = field(default_factory=Limits)

    @property
    def stages(self) -> int:
        return len(self.places)


def model_ms(costs: Costs, place: Place, objective: Objective) -> Matrix:
    """The model's own time of every stage at this place: float64 [edges, edges]."""
    times = costs.times[place.device]
    sums = np.array(times.batch_ms if objective is Objective.THROUGHPUT else times.single_ms)
    return np.asarray((sums[None, :] - sums[:, None]) / place.speed)


def hop_ms(costs: Costs, objective: Objective) -> Matrix:
    """What every stage costs beside its model: float64 [edges, edges]."""
    pictures = costs.batch if objective is Objective.THROUGHPUT else 1
    bodies = np.array(costs.body_bytes, np.float64) * pictures
    both = (bodies[:, None] + bodies[None, :]) / 2
    return np.asarray(costs.hop.fixed_ms + costs.hop.per_mebibyte_ms * both / _MEBIBYTE)


def stage_ms(costs: Costs, goal: Goal, objective: Objective | None = None) -> list[Matrix]:
    """For each stage of the goal, what it costs from edge to edge, infinity where the end is not behind the start."""
    objective = objective or goal.objective
    known: dict[tuple[str, float], Matrix] = {}
    for place in goal.places:
        if (place.device, place.speed) not in known:
            whole = model_ms(costs, place, objective) + hop_ms(costs, objective)
            known[place.device, place.speed] = np.where(_forward(costs), whole, np.inf)
    return [known[place.device, place.speed] for place in goal.places]


def memory_bytes(costs: Costs) -> NDArray[np.int64]:
    """What every stage holds for one batch: weights, tensors at their most, the bodies that come and go."""
    bodies = np.array(costs.body_bytes, np.int64) * costs.batch
    return costs.weight_bytes + costs.peak_bytes + bodies[:, None] + bodies[None, :]


def request_bytes(costs: Costs) -> NDArray[np.int64]:
    """The larger of the bodies that come to a stage and go from it, one batch: int64 [edges, edges]."""
    bodies = np.array(costs.body_bytes, np.int64) * costs.batch
    return np.maximum(bodies[:, None], bodies[None, :])


def fits_request(costs: Costs, goal: Goal) -> NDArray[np.bool_]:
    """Which edges pass at most a request's bytes: bool [edges]. The input passes as many pictures as fit."""
    bodies = np.array(costs.body_bytes, np.int64) * costs.batch
    fits = bodies + FRAME_OVERHEAD_BYTES <= goal.limits.request_bytes
    fits[[0, -1]] = True
    return np.asarray(fits)


def within_request(costs: Costs, goal: Goal) -> NDArray[np.bool_]:
    """Which stages begin and end where requests fit: bool [edges, edges]."""
    fits = fits_request(costs, goal)
    return np.asarray(_forward(costs) & fits[:, None] & fits[None, :])


def within_memory(costs: Costs, goal: Goal) -> list[NDArray[np.bool_]]:
    """For each stage of the goal, from where to where its place can hold it: bool [edges, edges]."""
    held = memory_bytes(costs)
    return [
        _forward(costs) if place.memory_bytes is None else _forward(costs) & (held <= place.memory_bytes)
        for place in goal.places
    ]


def allowed(costs: Costs, goal: Goal) -> list[NDArray[np.bool_]]:
    """For each stage of the goal, from where to where it may go under all limits: bool [edges, edges]."""
    requests = within_request(costs, goal)
    return [requests & memory for memory in within_memory(costs, goal)]


def forbidding(costs: list[Matrix], allowed: list[NDArray[np.bool_]]) -> list[Matrix]:
    """The costs with infinity wherever a step is not allowed."""
    return [np.where(may, cost, np.inf) for cost, may in zip(costs, allowed, strict=True)]


def _forward(costs: Costs) -> NDArray[np.bool_]:
    return np.triu(np.ones((len(costs.body_bytes),) * 2, bool), 1)
