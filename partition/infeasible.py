"""Explain why no plan is feasible: the limit that excludes every plan, and the value that would admit one."""

import math
from typing import TYPE_CHECKING

import numpy as np

from shardline.partition.search import (
    FRAME_OVERHEAD_BYTES,
    Goal,
    Path,
    Place,
    allowed,
    best_path,
    fits_request,
    forbidding,
    memory_bytes,
    request_bytes,
    within_memory,
    within_request,
)
from shardline.wire.errors import PlanError
from shardline.wire.limits import MIB, Limits, format_bytes

if TYPE_CHECKING:
    from shardline.partition.costs import Costs
    from shardline.partition.liveness import Liveness

_MORE_STAGES = 16  # largest number of stages that is tried as a remedy


def check_pixels(pixel_bytes: int, limits: Limits) -> None:
    """Check that a picture fits into a request.

    Raises:
        PlanError: not even one picture does.
    """
    if pixel_bytes + FRAME_OVERHEAD_BYTES > limits.request_bytes:
        raise PlanError(
            f"one picture has {format_bytes(pixel_bytes)} of pixels; at most {format_bytes(limits.request_bytes)} go "
            "into one request: take a smaller --size"
        )


def check_count(liveness: "Liveness", stages: int) -> None:
    """Check that the model has enough positions for this many stages.

    Raises:
        PlanError: fewer than one stage, or more stages than positions allow.
    """
    if stages < 1:
        raise PlanError(f"--stages {stages}: at least 1 stage is needed")
    if stages - 1 > len(liveness.positions):
        raise PlanError(f"{stages} stages need {stages - 1} cuts; the model has {len(liveness.positions)} positions")


def no_plan(liveness: "Liveness", costs: "Costs", goal: Goal) -> PlanError:
    """Create the error to raise where no plan keeps the goal's limits."""
    requests = [within_request(costs, goal)] * goal.stages
    if best_path(forbidding([np.zeros(stage.shape) for stage in requests], requests), np.add) is None:
        return _no_room_in_requests(liveness, costs, goal)
    return _no_room_in_memory(liveness, costs, goal)


def _no_room_in_requests(liveness: "Liveness", costs: "Costs", goal: Goal) -> PlanError:
    fitting = int(fits_request(costs, goal)[1:-1].sum())
    smallest = min(costs.body_bytes[1:-1], default=0)
    return PlanError(
        f"{goal.stages} stages need {goal.stages - 1} cuts; only {fitting} of {len(liveness.positions)} positions pass "
        f"at most {format_bytes(goal.limits.request_bytes)} for a batch of {costs.batch} (the smallest passes "
        f"{format_bytes(smallest * costs.batch)}): take fewer stages or a smaller --batch{_larger_limit(costs, goal)}"
    )


def _larger_limit(costs: "Costs", goal: Goal) -> str:
    """Text ', or --limit 7.3Mi' where a larger limit admits a plan, else ''."""
    found = best_path(forbidding([request_bytes(costs).astype(float)] * goal.stages, _forward(costs, goal)), np.maximum)
    if found is None:
        return ""
    return f", or --limit {_rounded_up(int(found.cost) + FRAME_OVERHEAD_BYTES, 0.1):.1f}Mi"


def _no_room_in_memory(liveness: "Liveness", costs: "Costs", goal: Goal) -> PlanError:
    rooms = {place.memory_bytes for place in goal.places}
    if len(rooms) > 1:
        return _no_room_at_places(liveness, costs, goal)
    limit = goal.places[0].memory_bytes or 0
    smallest = _smallest_largest(costs, [within_request(costs, goal)] * goal.stages)
    without_limit = _smallest_largest(costs, _forward(costs, goal))
    assert smallest is not None
    assert without_limit is not None
    names = ", ".join(liveness.positions[edge - 1].name for edge in smallest.edges)
    remedies = [f"--memory-per-stage {_rounded_up(int(smallest.cost)):.0f}Mi"]
    if (more := _enough_stages(costs, goal)) is not None:
        remedies.insert(0, f"{more} stages")
    limited = without_limit.cost < smallest.cost
    requests = f" with requests of at most {format_bytes(goal.limits.request_bytes)}" if limited else ""
    return PlanError(
        f"no {goal.stages}-stage plan fits {format_bytes(limit)} per stage: the best split{requests} still needs "
        f"{format_bytes(int(smallest.cost))}{f' (cut at {names})' if names else ''}; take {' or '.join(remedies)}"
    )


def _no_room_at_places(liveness: "Liveness", costs: "Costs", goal: Goal) -> PlanError:
    """Error for stages with limits of their own: the split that exceeds them by the smallest factor."""
    held = memory_bytes(costs).astype(float)
    shares = [held / (place.memory_bytes or math.inf) for place in goal.places]
    found = best_path(forbidding(shares, [within_request(costs, goal)] * goal.stages), np.maximum)
    assert found is not None
    bounds = [0, *found.edges, len(costs.body_bytes) - 1]
    worst = max(range(goal.stages), key=lambda k: shares[k][bounds[k], bounds[k + 1]])
    needed = int(held[bounds[worst], bounds[worst + 1]])
    names = ", ".join(liveness.positions[edge - 1].name for edge in found.edges)
    return PlanError(
        f"no {goal.stages}-stage plan fits --memory-per-stage: the best split, cut at {names}, needs "
        f"{format_bytes(needed)} for stage {worst}, which may hold "
        f"{format_bytes(goal.places[worst].memory_bytes or 0)}; give it {_rounded_up(needed):.0f}Mi, or "
        "take more stages"
    )


def _smallest_largest(costs: "Costs", stages: list[np.ndarray]) -> Path | None:
    """Find the cuts whose largest stage is smallest, among the allowed stages, bool [edges, edges] each."""
    return best_path(forbidding([memory_bytes(costs).astype(float)] * len(stages), stages), np.maximum)


def _enough_stages(costs: "Costs", goal: Goal) -> int | None:
    """Smallest number of stages, all with the same placement, for which a plan exists; None up to 16."""
    place: Place = goal.places[0]
    for stages in range(goal.stages + 1, _MORE_STAGES + 1):
        more = Goal(places=(place,) * stages, objective=goal.objective, limits=goal.limits)
        steps = allowed(costs, more)
        if best_path(forbidding([np.zeros(steps[0].shape)] * stages, steps), np.add) is not None:
            return stages
    return None


def _forward(costs: "Costs", goal: Goal) -> list[np.ndarray]:
    """True for every stage whose end lies behind its start: bool [edges, edges] per stage."""
    anywhere = Goal(places=(Place(),) * goal.stages, limits=goal.limits)
    return within_memory(costs, anywhere)


def _rounded_up(count_bytes: int, step: float = 1.0) -> float:
    """Mebibytes, rounded up to a step, so that the value in a remedy suffices."""
    return math.ceil(count_bytes / MIB / step) * step
