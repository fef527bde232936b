"""What was weighed: the plans that no other beats in everything, and why the one taken was.

Four figures of a plan are weighed: its slowest stage, the latency of one picture, its largest request and its largest
stage's memory. The front of one of them against the goal's objective is walked exactly: the best plan, then the best
with a smaller request, and so on, until there is none. Limits are left out at first, so that one sees what they cost.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from shardline.partition.costs import Costs
from shardline.partition.liveness import Liveness
from shardline.partition.plan import Plan, StagePlan, at_edges, best_cuts
from shardline.partition.search import Path, best_path, count_paths
from shardline.partition.segments import (
    FRAME_OVERHEAD_BYTES,
    Goal,
    Objective,
    allowed,
    forbidding,
    memory_bytes,
    request_bytes,
    stage_ms,
    within_memory,
    within_request,
)
from shardline.wire.limits import format_bytes

_STEP = 0.9  # of one plan's figure to the next one's: closer ones are not worth a line
_MOST = 6  # plans of one walk
_NAMES_ENOUGH = 3  # positions with names for each cut, to weigh only these

Allowed = list[NDArray[np.bool_]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Weighed:
    """One plan of the list. `over` names the limits that it breaks: "limit", "memory"."""

    plan: Plan
    taken: bool
    over: tuple[str, ...]

    @property
    def figures(self) -> tuple[float, float, int, int]:
        """Smaller is better in each: slowest stage's ms, latency in ms, largest request's bytes, largest stage's."""
        return self.plan.slowest_ms, self.plan.latency_ms, self.plan.request_bytes, self.plan.memory_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """`plans` is how many there could be, `within_limits` how many of them keep the limits."""

    plans: int
    within_limits: int
    weighed: tuple[Weighed, ...]
    reasons: tuple[str, ...]


def explain(liveness: Liveness, costs: Costs, goal: Goal, taken: Plan) -> Explanation:
    """Weigh `taken`, a plan for this goal, against the others."""
    anywhere = within_memory(costs, _without_memory(goal))
    named = _named(liveness, anywhere, goal)
    paths = {path.edges for walk in _walks(costs, goal, named) for path in walk}
    mine = tuple(position.index + 1 for position in taken.cuts)
    weighed = [_weigh(liveness, costs, goal, edges, mine) for edges in paths | {mine}]
    return Explanation(
        plans=count_paths(anywhere),
        within_limits=count_paths(allowed(costs, goal)),
        weighed=tuple(sorted(_unbeaten(weighed), key=lambda each: _objective(each.plan, goal))),
        reasons=tuple(_reasons(liveness, costs, goal, taken)),
    )


def _without_memory(goal: Goal) -> Goal:
    return replace(goal, places=tuple(replace(place, memory_bytes=None) for place in goal.places))


def _objective(plan: Plan, goal: Goal) -> float:
    return plan.slowest_ms if goal.objective is Objective.THROUGHPUT else plan.latency_ms


def _named(liveness: Liveness, anywhere: Allowed, goal: Goal) -> Allowed:
    """Only what begins and ends at ends of modules, if there are enough of them."""
    names = np.array([True, *(bool(position.names) for position in liveness.positions), True])
    if names.sum() - 2 < _NAMES_ENOUGH * (goal.stages - 1):
        return anywhere
    return [each & names[:, None] & names[None, :] for each in anywhere]


def _walks(costs: Costs, goal: Goal, named: Allowed) -> Iterator[Iterator[Path]]:
    """The objective against requests, against memory, and throughput against latency."""
    requests, memory = request_bytes(costs), memory_bytes(costs)
    yield _walk(costs, goal, named, [requests] * goal.stages)
    yield _walk(costs, goal, named, [memory] * goal.stages)
    slowest = stage_ms(costs, goal, Objective.THROUGHPUT)
    latency = forbidding(stage_ms(costs, goal, Objective.LATENCY), named)
    yield _front(lambda may: best_path(forbidding(latency, may), np.add), named, slowest)


def _walk(costs: Costs, goal: Goal, named: Allowed, measure: list[NDArray[np.int64]]) -> Iterator[Path]:
    return _front(lambda may: best_cuts(costs, goal, may), named, measure)


def _front(
    best: Callable[[Allowed], Path | None], may: Allowed, measure: list[NDArray[np.int64]] | list[NDArray[np.float64]]
) -> Iterator[Path]:
    """The best path, then the best whose largest measure is clearly smaller, and so on."""
    for _ in range(_MOST):
        path = best(may)
        if path is None:
            return
        yield path
        bounds = [0, *path.edges, len(may[0]) - 1]
        largest = max(float(each[bounds[k], bounds[k + 1]]) for k, each in enumerate(measure))
        may = [step & (each <= largest * _STEP) for step, each in zip(may, measure, strict=True)]


def _weigh(liveness: Liveness, costs: Costs, goal: Goal, edges: tuple[int, ...], mine: tuple[int, ...]) -> Weighed:
    plan = at_edges(liveness, costs, edges, goal)
    return Weighed(plan=plan, taken=edges == mine, over=tuple(_over(plan)))


def _over(plan: Plan) -> Iterator[str]:
    if plan.request_bytes + FRAME_OVERHEAD_BYTES > plan.limits.request_bytes:
        yield "limit"
    if any(_too_large(stage) for stage in plan.stages):
        yield "memory"


def _too_large(stage: StagePlan) -> bool:
    return stage.place.memory_bytes is not None and stage.memory_bytes > stage.place.memory_bytes


def _unbeaten(weighed: list[Weighed]) -> list[Weighed]:
    """Those that none beats in everything, and the one that was taken."""
    return [each for each in weighed if each.taken or not any(_beats(other, each) for other in weighed)]


def _beats(one: Weighed, other: Weighed) -> bool:
    pairs = list(zip(one.figures, other.figures, strict=True))
    return all(a <= b for a, b in pairs) and any(a < b for a, b in pairs)


def _reasons(liveness: Liveness, costs: Costs, goal: Goal, taken: Plan) -> Iterator[str]:
    figure = _objective(taken, goal)
    what = "slowest stage" if goal.objective is Objective.THROUGHPUT else "latency"
    within = best_cuts(costs, goal, allowed(costs, goal))
    exact = taken if within is None else at_edges(liveness, costs, within.edges, goal)
    if _objective(exact, goal) < figure:
        yield f"the smallest {what} within the limits is {_objective(exact, goal):.1f} ms, cut at {_cuts(exact)}"
        yield f"taken is {_cuts(taken) or 'no cut'}: {figure:.1f} ms, {_why_not_exact(taken)}"
    else:
        yield f"no plan within the limits has a smaller {what} than {figure:.1f} ms"
    memory, requests = within_memory(costs, goal), within_request(costs, goal)
    for option, may in (("--limit", memory), ("--memory-per-stage", [requests] * goal.stages)):
        path = best_cuts(costs, goal, may)
        other = taken if path is None else at_edges(liveness, costs, path.edges, goal)
        if tuple(_over(other)) and _objective(other, goal) < _objective(exact, goal):
            yield (
                f"without {option} it is {_objective(other, goal):.1f} ms, cut at {_cuts(other)}: requests of "
                f"{format_bytes(other.request_bytes)}, stages of up to {format_bytes(other.memory_bytes)}"
            )


def _why_not_exact(taken: Plan) -> str:
    if all(position.names for position in taken.cuts):
        return "next to nothing more, and its cuts are ends of modules"
    return "with fewer cuts inside of modules"


def _cuts(plan: Plan) -> str:
    return ", ".join(position.name for position in plan.cuts)
