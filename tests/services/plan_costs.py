"""Costs out of nothing, for tests of the planner: no model runs."""

import itertools
from collections.abc import Sequence

import numpy as np

from shardline.partition.costs import Costs, HopCost, Times
from shardline.partition.search import Goal, Objective, Place
from shardline.wire.limits import Limits

MEBIBYTE = 1024**2
PIXEL_BYTES = 3 * 32 * 32
HOP = HopCost(fixed_ms=0.5, per_mebibyte_ms=2.0)


def costs_of(
    parts_ms: Sequence[float],
    live_bytes: Sequence[int],
    batch: int = 1,
    *,
    weights: Sequence[int] | None = None,
    singles_ms: Sequence[float] | None = None,
) -> Costs:
    """`parts_ms[i]` is what lies between positions i-1 and i, and so are `weights`; 100 bytes each by themselves.

    Tensors at their most are as large as the larger body of a stage, one batch.
    """
    assert len(parts_ms) == len(live_bytes) + 1
    bodies = np.array([PIXEL_BYTES, *live_bytes, 0])
    sums = np.array([0, *itertools.accumulate(weights or [100] * len(parts_ms))])
    batch_ms = (0.0, *itertools.accumulate(parts_ms))
    single_ms = batch_ms if singles_ms is None else (0.0, *itertools.accumulate(singles_ms))
    return Costs(
        batch=batch,
        threads=1,
        times={device: Times(batch_ms=batch_ms, single_ms=single_ms) for device in ("cpu",)},
        body_bytes=tuple(bodies.tolist()),
        weight_bytes=np.maximum(sums[None, :] - sums[:, None], 0),
        peak_bytes=np.maximum(bodies[:, None], bodies[None, :]) * batch,
        hop=HOP,
    )


def goal_of(
    stages: int,
    objective: str = "throughput",
    limits: Limits | None = None,
    *,
    memory_bytes: int | None = None,
    speeds: Sequence[float] = (),
) -> Goal:
    places = tuple(Place(speed=speed, memory_bytes=memory_bytes) for speed in speeds or [1.0] * stages)
    return Goal(places=places, objective=Objective(objective), limits=limits or Limits())


def stage_times(cuts: Sequence[int], costs: Costs, goal: Goal) -> list[float]:
    """What each stage costs, from first principles: its part of the model, and half a hop for each body's bytes."""
    one = goal.objective is Objective.LATENCY
    times = costs.times["cpu"].single_ms if one else costs.times["cpu"].batch_ms
    pictures = 1 if one else costs.batch
    found = []
    for place, (start, end) in zip(goal.places, bounds(cuts, costs), strict=True):
        both = (costs.body_bytes[start] + costs.body_bytes[end]) * pictures
        found.append(
            (times[end] - times[start]) / place.speed + HOP.fixed_ms + HOP.per_mebibyte_ms * both / 2 / MEBIBYTE
        )
    return found


def objective_ms(cuts: Sequence[int], costs: Costs, goal: Goal) -> float:
    times = stage_times(cuts, costs, goal)
    return sum(times) if goal.objective is Objective.LATENCY else max(times)


def stage_memory(cuts: Sequence[int], costs: Costs) -> list[int]:
    return [
        int(costs.weight_bytes[at] + costs.peak_bytes[at])
        + (costs.body_bytes[at[0]] + costs.body_bytes[at[1]]) * costs.batch
        for at in bounds(cuts, costs)
    ]


def bounds(cuts: Sequence[int], costs: Costs) -> list[tuple[int, int]]:
    """Where each stage begins and ends, for cuts given as positions."""
    return list(itertools.pairwise([0, *(cut + 1 for cut in cuts), len(costs.body_bytes) - 1]))
