"""Costs out of nothing, for tests of the planner: no model runs."""

import itertools
import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import strategies as st

from shardline.partition.costs import Costs, HopCost, Times
from shardline.partition.liveness import Liveness
from shardline.partition.plan import best_plan
from shardline.partition.search import FRAME_OVERHEAD_BYTES, Goal, Objective, Place
from shardline.wire.errors import PlanError
from shardline.wire.limits import MIB, Limits

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
        found.append((times[end] - times[start]) / place.speed + HOP.fixed_ms + HOP.per_mebibyte_ms * both / 2 / MIB)
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


def even(liveness: Liveness, live_bytes: int = 1000, batch: int = 1) -> Costs:
    count = len(liveness.positions)
    return costs_of([1.0] * (count + 1), [live_bytes] * count, batch)


@st.composite
def synthetic(draw: st.DrawFn, count: int = 17) -> Costs:
    times = st.floats(0, 20, allow_nan=False, allow_subnormal=False)
    sizes = st.integers(1, 7 * MIB)
    weights = st.integers(0, 50 * MIB)
    pieces = count + 1
    return costs_of(
        draw(st.lists(times, min_size=pieces, max_size=pieces)),
        draw(st.lists(sizes, min_size=count, max_size=count)),
        draw(st.integers(1, 3)),
        weights=draw(st.lists(weights, min_size=pieces, max_size=pieces)),
        singles_ms=draw(st.lists(times, min_size=pieces, max_size=pieces)),
    )


def allowed(costs: Costs, limits: Limits) -> list[int]:
    room = limits.request_bytes - FRAME_OVERHEAD_BYTES
    return [index for index, live in enumerate(costs.body_bytes[1:-1]) if live * costs.batch <= room]


def possible(costs: Costs, goal: Goal) -> list[tuple[int, ...]]:
    """All cuts that keep the limits."""
    chains = itertools.combinations(allowed(costs, goal.limits), goal.stages - 1)
    rooms = [math.inf if place.memory_bytes is None else place.memory_bytes for place in goal.places]
    return [
        cuts
        for cuts in chains
        if all(held <= room for held, room in zip(stage_memory(cuts, costs), rooms, strict=True))
    ]


def refused(liveness: Liveness, costs: Costs, goal: Goal) -> str:
    with pytest.raises(PlanError) as caught:
        best_plan(liveness, costs, goal)
    assert "\n" not in str(caught.value)
    return str(caught.value)
