"""Costs + a goal -> Plan: where to cut so that the slowest stage, or the sum of all, is as fast as can be.

A stage's time is its model's measured time at its place plus a hop, which grows with the bytes of its input and output.
The search is exact (`partition/search.py`); among plans with the same slowest stage it takes the smallest sum. Then
cuts go to the ends of modules, where that costs next to nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from shardline.partition import refusal
from shardline.partition.costs import Costs
from shardline.partition.liveness import Liveness, Position
from shardline.partition.search import Matrix, Path, best_by_penalty
from shardline.partition.segments import (
    FRAME_OVERHEAD_BYTES,
    Goal,
    Objective,
    Place,
    allowed,
    forbidding,
    hop_ms,
    memory_bytes,
    model_ms,
    stage_ms,
)
from shardline.wire.errors import PlanError
from shardline.wire.limits import Limits, format_bytes

_NEXT_TO_NOTHING = 0.03  # of the objective; measured times tremble more, so nothing real is lost


@dataclass(frozen=True, slots=True, kw_only=True)
class StagePlan:
    """One stage as planned. `cut` is the position after it, None for the last stage."""

    index: int
    cut: Position | None
    place: Place
    model_ms: float  # one batch
    hop_ms: float  # receiving one batch's tensors and sending them on
    single_ms: float  # one picture alone, model and hop
    weight_bytes: int
    peak_bytes: int  # its tensors at their most, one batch
    memory_bytes: int  # all of it: weights, tensors, and the bodies that come and go
    output_bytes: int  # of one instance; 0 for the last stage, whose reply is small


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    batch: int
    threads: int
    objective: Objective
    pixel_bytes: int  # of one instance, what goes to stage 0
    limits: Limits
    stages: tuple[StagePlan, ...]

    @property
    def cuts(self) -> tuple[Position, ...]:
        return tuple(stage.cut for stage in self.stages if stage.cut is not None)

    @property
    def slowest_ms(self) -> float:
        """What throughput is bound by: a batch leaves the chain every so often."""
        return max(stage.model_ms + stage.hop_ms for stage in self.stages)

    @property
    def latency_ms(self) -> float:
        """What one picture alone takes through all stages."""
        return sum(stage.single_ms for stage in self.stages)

    @property
    def request_bytes(self) -> int:
        """The largest body between two stages, one batch."""
        return max(stage.output_bytes for stage in self.stages) * self.batch

    @property
    def memory_bytes(self) -> int:
        """What the largest stage holds."""
        return max(stage.memory_bytes for stage in self.stages)

    @property
    def max_instances(self) -> int:
        """The most pictures in one request: as many as fit a request before stage 0 and at every cut."""
        largest = max(self.pixel_bytes, *(stage.output_bytes for stage in self.stages))
        return (self.limits.request_bytes - FRAME_OVERHEAD_BYTES) // largest


def plan(liveness: Liveness, costs: Costs, goal: Goal) -> Plan:
    """The best plan that keeps the goal's limits.

    Raises:
        PlanError: there is none; the message names the limit that is nearest to letting one through.
    """
    refusal.check_pixels(costs.body_bytes[0], goal.limits)
    may = allowed(costs, goal)
    path = best_cuts(costs, goal, may)
    if path is None:
        raise refusal.no_plan(liveness, costs, goal)
    return at_edges(liveness, costs, _to_named(liveness, costs, goal, may, path).edges, goal)


def plan_at(liveness: Liveness, costs: Costs, cuts: Sequence[Position], goal: Goal) -> Plan:
    """The plan with these cuts.

    Raises:
        PlanError: the picture or a cut passes more than a request may hold, even for one instance, or a stage does not
            fit its memory.
    """
    refusal.check_pixels(costs.body_bytes[0], goal.limits)
    for position in cuts:
        passed = costs.body_bytes[position.index + 1]
        if passed + FRAME_OVERHEAD_BYTES > goal.limits.request_bytes:
            raise PlanError(
                f"the cut {position.name} passes {format_bytes(passed)} for one picture; at most "
                f"{format_bytes(goal.limits.request_bytes)} go into one request: cut elsewhere"
            )
    made = at_edges(liveness, costs, [position.index + 1 for position in cuts], goal)
    for stage in made.stages:
        room = stage.place.memory_bytes
        if room is not None and stage.memory_bytes > room:
            raise PlanError(
                f"stage {stage.index} holds {format_bytes(stage.memory_bytes)} (weights "
                f"{format_bytes(stage.weight_bytes)}); its place has {format_bytes(room)}: cut elsewhere"
            )
    return made


def best_cuts(costs: Costs, goal: Goal, may: list[NDArray[np.bool_]]) -> Path | None:
    """The best path of all that keep to `may`, or None; `cost` is the objective's."""
    return _least(forbidding(stage_ms(costs, goal), may), goal.objective, np.zeros(len(may[0]), np.int64))


def at_edges(liveness: Liveness, costs: Costs, inner: Sequence[int], goal: Goal) -> Plan:
    """The plan whose stages meet at these edges, limits or not."""
    held, hops, single_hops = memory_bytes(costs), *(hop_ms(costs, each) for each in Objective)
    stages = []
    bounds = [0, *inner, len(costs.body_bytes) - 1]
    for index, (place, at) in enumerate(zip(goal.places, pairwise(bounds), strict=True)):
        end = at[1]
        stages.append(
            StagePlan(
                index=index,
                cut=liveness.positions[end - 1] if end < bounds[-1] else None,
                place=place,
                model_ms=float(model_ms(costs, place, Objective.THROUGHPUT)[at]),
                hop_ms=float(hops[at]),
                single_ms=float(model_ms(costs, place, Objective.LATENCY)[at] + single_hops[at]),
                weight_bytes=int(costs.weight_bytes[at]),
                peak_bytes=int(costs.peak_bytes[at]),
                memory_bytes=int(held[at]),
                output_bytes=costs.body_bytes[end],
            )
        )
    return Plan(
        batch=costs.batch,
        threads=costs.threads,
        objective=goal.objective,
        pixel_bytes=costs.body_bytes[0],
        limits=goal.limits,
        stages=tuple(stages),
    )


def _to_named(liveness: Liveness, costs: Costs, goal: Goal, may: list[NDArray[np.bool_]], best: Path) -> Path:
    """The path with the fewest cuts inside of modules that costs next to nothing more: ends have names to speak of."""
    unnamed = np.array([0, *(not position.names for position in liveness.positions), 0], np.int64)
    enough = best.cost * (1 + _NEXT_TO_NOTHING)
    times = forbidding(stage_ms(costs, goal), may)
    combine = _combine(goal.objective)
    for count, found in enumerate(best_by_penalty(times, combine, unnamed)):
        if found is not None and found.cost <= enough:
            return _least(times, goal.objective, unnamed, count) or found
    return best


def _least(times: list[Matrix], objective: Objective, penalty: NDArray[np.int64], count: int = 0) -> Path | None:
    """The cheapest path with so many penalties; of those with the same slowest stage the one with the smallest sum."""
    found = best_by_penalty(times, _combine(objective), penalty)[count]
    if found is None or objective is Objective.LATENCY:
        return found
    as_fast = [np.where(each <= found.cost, each, np.inf) for each in times]
    calmest = best_by_penalty(as_fast, np.add, penalty)[count]
    return found if calmest is None else Path(found.cost, calmest.edges)


def _combine(objective: Objective) -> np.ufunc:
    return np.maximum if objective is Objective.THROUGHPUT else np.add
