"""Explain a plan: compare it with the plans on the Pareto front, and give the reasons for the choice.

Four figures of a plan are compared: its slowest stage, the latency of one picture, its largest request and its largest
stage's memory. The front of one figure against the goal's objective is walked exactly: the best plan, then the best
with a smaller request, and so on, until there is none. Limits are left out at first, so that their price is visible.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from shardline.partition.costs import Costs
from shardline.partition.liveness import Liveness
from shardline.partition.plan import Plan, StagePlan, best_cuts, plan_from_edges
from shardline.partition.search import (
    FRAME_OVERHEAD_BYTES,
    Goal,
    Objective,
    Path,
    allowed,
    best_path,
    count_paths,
    forbidding,
    memory_bytes,
    request_bytes,
    stage_ms,
    within_memory,
    within_request,
)
from shardline.wire.limits import format_bytes

_STEP = 0.9  # ratio of a plan's figure to the previous plan's: closer plans are not worth a line
_MOST_PLANS = 6  # of one walk
_NAMES_ENOUGH = 3  # named positions per cut, from which on only named positions are compared

Allowed = list[NDArray[np.bool_]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One of the compared plans. `over` names the limits that it breaks: "limit", "memory"."""

    plan: Plan
    taken: bool
    over: tuple[str, ...]

    @property
    def figures(self) -> tuple[float, float, int, int]:
        """Slowest stage and latency in ms, bytes of the largest request and the largest stage: smaller is better."""
        return self.plan.slowest_ms, self.plan.latency_ms, self.plan.request_bytes, self.plan.memory_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Compared plans and reasons. `plans` counts all possible plans, `within_limits` those that keep the limits."""

    plans: int
    within_limits: int
    candidates: tuple[Candidate, ...]
    reasons: tuple[str, ...]


def explain(liveness: Liveness, costs: Costs, goal: Goal, taken: Plan) -> Explanation:
    """Compare `taken`, a plan for this goal, with other plans."""
    anywhere = within_memory(costs, _without_memory(goal))
    named = _named(liveness, anywhere, goal)
    paths = {path.edges for walk in _walks(costs, goal, named) for path in walk}
    mine = tuple(position.index + 1 for position in taken.cuts)
    candidates = [_candidate(liveness, costs, goal, edges, mine) for edges in paths | {mine}]
    return Explanation(
        plans=count_paths(anywhere),
        within_limits=count_paths(allowed(costs, goal)),
        candidates=tuple(sorted(_unbeaten(candidates), key=lambda candidate: _objective(candidate.plan, goal))),
        reasons=tuple(_reasons(liveness, costs, goal, taken)),
    )


def _without_memory(goal: Goal) -> Goal:
    return replace(goal, places=tuple(replace(place, memory_bytes=None) for place in goal.places))


def _objective(plan: Plan, goal: Goal) -> float:
    return plan.slowest_ms if goal.objective is Objective.THROUGHPUT else plan.latency_ms


def _named(liveness: Liveness, anywhere: Allowed, goal: Goal) -> Allowed:
    """Restrict stages to those between ends of modules, if there are enough of these."""
    names = np.array([True, *(bool(position.names) for position in liveness.positions), True])
    if names.sum() - 2 < _NAMES_ENOUGH * (goal.stages - 1):
        return anywhere
    return [stage & names[:, None] & names[None, :] for stage in anywhere]


def _walks(costs: Costs, goal: Goal, named: Allowed) -> Iterator[Iterator[Path]]:
    """Walk the objective against requests, against memory, and throughput against latency."""
    requests, memory = request_bytes(costs), memory_bytes(costs)
    yield _walk(costs, goal, named, [requests] * goal.stages)
    yield _walk(costs, goal, named, [memory] * goal.stages)
    slowest = stage_ms(costs, goal, Objective.THROUGHPUT)
    latency = forbidding(stage_ms(costs, goal, Objective.LATENCY), named)
    yield _front(lambda steps: best_path(forbidding(latency, steps), np.add), named, slowest)


def _walk(costs: Costs, goal: Goal, named: Allowed, measure: list[NDArray[np.int64]]) -> Iterator[Path]:
    return _front(lambda steps: best_cuts(costs, goal, steps), named, measure)


def _front(
    best: Callable[[Allowed], Path | None], steps: Allowed, measure: list[NDArray[np.int64]] | list[NDArray[np.float64]]
) -> Iterator[Path]:
    """Yield the best path, then the best whose largest measure is clearly smaller, and so on."""
    for _ in range(_MOST_PLANS):
        path = best(steps)
        if path is None:
            return
        yield path
        bounds = [0, *path.edges, len(steps[0]) - 1]
        largest = max(float(values[bounds[k], bounds[k + 1]]) for k, values in enumerate(measure))
        steps = [step & (values <= largest * _STEP) for step, values in zip(steps, measure, strict=True)]


def _candidate(
    liveness: Liveness, costs: Costs, goal: Goal, edges: tuple[int, ...], mine: tuple[int, ...]
) -> Candidate:
    plan = plan_from_edges(liveness, costs, edges, goal)
    return Candidate(plan=plan, taken=edges == mine, over=tuple(_over(plan)))


def _over(plan: Plan) -> Iterator[str]:
    if plan.request_bytes + FRAME_OVERHEAD_BYTES > plan.limits.request_bytes:
        yield "limit"
    if any(_too_large(stage) for stage in plan.stages):
        yield "memory"


def _too_large(stage: StagePlan) -> bool:
    return stage.place.memory_bytes is not None and stage.memory_bytes > stage.place.memory_bytes


def _unbeaten(candidates: list[Candidate]) -> list[Candidate]:
    """Keep the plans on the Pareto front, and the one that was taken."""
    return [
        candidate
        for candidate in candidates
        if candidate.taken or not any(_beats(rival, candidate) for rival in candidates)
    ]


def _beats(rival: Candidate, candidate: Candidate) -> bool:
    pairs = list(zip(rival.figures, candidate.figures, strict=True))
    return all(a <= b for a, b in pairs) and any(a < b for a, b in pairs)


def _reasons(liveness: Liveness, costs: Costs, goal: Goal, taken: Plan) -> Iterator[str]:
    figure = _objective(taken, goal)
    what = "slowest stage" if goal.objective is Objective.THROUGHPUT else "latency"
    within = best_cuts(costs, goal, allowed(costs, goal))
    exact = taken if within is None else plan_from_edges(liveness, costs, within.edges, goal)
    if _objective(exact, goal) < figure:
        yield f"the smallest {what} within the limits is {_objective(exact, goal):.1f} ms, cut at {_cuts(exact)}"
        yield f"taken is {_cuts(taken) or 'no cut'}: {figure:.1f} ms, {_why_not_exact(taken)}"
    else:
        yield f"no plan within the limits has a smaller {what} than {figure:.1f} ms"
    memory, requests = within_memory(costs, goal), within_request(costs, goal)
    for option, steps in (("--limit", memory), ("--memory-per-stage", [requests] * goal.stages)):
        path = best_cuts(costs, goal, steps)
        unlimited = taken if path is None else plan_from_edges(liveness, costs, path.edges, goal)
        if tuple(_over(unlimited)) and _objective(unlimited, goal) < _objective(exact, goal):
            yield (
                f"without {option} it is {_objective(unlimited, goal):.1f} ms, cut at {_cuts(unlimited)}: requests of "
                f"{format_bytes(unlimited.request_bytes)}, stages of up to {format_bytes(unlimited.memory_bytes)}"
            )


def _why_not_exact(taken: Plan) -> str:
    if all(position.names for position in taken.cuts):
        return "next to nothing more, and its cuts are ends of modules"
    return "with fewer cuts inside of modules"


def _cuts(plan: Plan) -> str:
    return ", ".join(position.name for position in plan.cuts)
