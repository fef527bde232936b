"""Why there is no plan: which limit is in the way, and how far off it is."""

import math

import numpy as np

from shardline.partition.costs import Costs
from shardline.partition.liveness import Liveness
from shardline.partition.search import Path, best_path
from shardline.partition.segments import (
    FRAME_OVERHEAD_BYTES,
    Goal,
    Place,
    allowed,
    fits_request,
    forbidding,
    memory_bytes,
    request_bytes,
    within_memory,
    within_request,
)
from shardline.wire.errors import PlanError
from shardline.wire.limits import Limits, format_bytes

_MEBIBYTE = 1024**2
_MORE_STAGES = 16  # as far as a remedy is looked for


def check_pixels(pixel_bytes: int, limits: Limits) -> None:
    """
    Raises:
        PlanError: not even one picture goes into a request.
    """
    if pixel_bytes + FRAME_OVERHEAD_BYTES > limits.request_bytes:
        raise PlanError(
            f"one picture has {format_bytes(pixel_bytes)} of pixels; at most {format_bytes(limits.request_bytes)} go "
            "into one request: take a smaller --size"
        )


def check_count(liveness: Liveness, stages: int) -> None:
    """
    Raises:
        PlanError: fewer than one stage, or more than there are positions to part them.
    """
    if stages < 1:
        raise PlanError(f"--stages {stages}: a plan has at least 1 stage")
    if stages - 1 > len(liveness.positions):
        raise PlanError(f"{stages} stages need {stages - 1} cuts; the model has {len(liveness.positions)} positions")


def no_plan(liveness: Liveness, costs: Costs, goal: Goal) -> PlanError:
    """The error to raise where no plan keeps the goal's limits."""
    requests = [within_request(costs, goal)] * goal.stages
    if best_path(forbidding([np.zeros(each.shape) for each in requests], requests), np.add) is None:
        return _no_room_in_requests(liveness, costs, goal)
    return _no_room_in_memory(liveness, costs, goal)


def _no_room_in_requests(liveness: Liveness, costs: Costs, goal: Goal) -> PlanError:
    fitting = int(fits_request(costs, goal)[1:-1].sum())
    smallest = min(costs.body_bytes[1:-1], default=0)
    return PlanError(
        f"{goal.stages} stages need {goal.stages - 1} cuts; only {fitting} of {len(liveness.positions)} positions pass "
        f"at most {format_bytes(goal.limits.request_bytes)} for a batch of {costs.batch} (the smallest passes "
        f"{format_bytes(smallest * costs.batch)}): take fewer stages or a smaller --batch{_larger_limit(costs, goal)}"
    )


def _larger_limit(costs: Costs, goal: Goal) -> str:
    """', or --limit 7.3Mi' where there is a number of bytes that lets a plan through."""
    found = best_path(forbidding([request_bytes(costs).astype(float)] * goal.stages, _forward(costs, goal)), np.maximum)
    if found is None:
        return ""
    return f", or --limit {_rounded_up(int(found.cost) + FRAME_OVERHEAD_BYTES, 0.1):.1f}Mi"


def _no_room_in_memory(liveness: Liveness, costs: Costs, goal: Goal) -> PlanError:
    rooms = {place.memory_bytes for place in goal.places}
    if len(rooms) > 1:
        return _no_room_at_places(liveness, costs, goal)
    room = goal.places[0].memory_bytes or 0
    smallest = _smallest_largest(costs, goal)
    assert smallest is not None
    names = ", ".join(liveness.positions[edge - 1].name for edge in smallest.edges)
    remedies = [f"--memory-per-stage {_rounded_up(int(smallest.cost)):.0f}Mi"]
    if (more := _enough_stages(costs, goal)) is not None:
        remedies.insert(0, f"{more} stages")
    requests = f" with requests of at most {format_bytes(goal.limits.request_bytes)}" if not _free_of_requests(
        costs, goal, smallest
    ) else ""  # fmt: skip
    return PlanError(
        f"{goal.stages} {'stage' if goal.stages == 1 else 'stages'} of at most {format_bytes(room)}: the smallest "
        f"largest stage{requests} is {format_bytes(int(smallest.cost))}{f' (cut at {names})' if names else ''}; take "
        f"{' or '.join(remedies)}"
    )


def _no_room_at_places(liveness: Liveness, costs: Costs, goal: Goal) -> PlanError:
    """Stages with memory of their own: how much more each would need, all in the same proportion."""
    held = memory_bytes(costs).astype(float)
    shares = [held / (place.memory_bytes or math.inf) for place in goal.places]
    found = best_path(forbidding(shares, [within_request(costs, goal)] * goal.stages), np.maximum)
    assert found is not None
    bounds = [0, *found.edges, len(costs.body_bytes) - 1]
    worst = max(range(goal.stages), key=lambda k: shares[k][bounds[k], bounds[k + 1]])
    needed = int(held[bounds[worst], bounds[worst + 1]])
    names = ", ".join(liveness.positions[edge - 1].name for edge in found.edges)
    return PlanError(
        f"no {goal.stages} stages fit --memory-per-stage: nearest comes the cut at {names}, where stage {worst} holds "
        f"{format_bytes(needed)} and its place has {format_bytes(goal.places[worst].memory_bytes or 0)}; give it "
        f"{_rounded_up(needed):.0f}Mi, or take more stages"
    )


def _smallest_largest(costs: Costs, goal: Goal) -> Path | None:
    """The cuts whose largest stage is smallest, under the limit of requests."""
    held = [memory_bytes(costs).astype(float)] * goal.stages
    return best_path(forbidding(held, [within_request(costs, goal)] * goal.stages), np.maximum)


def _free_of_requests(costs: Costs, goal: Goal, smallest: Path) -> bool:
    """Is the smallest largest stage as large without a limit on requests?"""
    held = [memory_bytes(costs).astype(float)] * goal.stages
    found = best_path(forbidding(held, _forward(costs, goal)), np.maximum)
    return found is not None and found.cost == smallest.cost


def _enough_stages(costs: Costs, goal: Goal) -> int | None:
    """The fewest stages, all at the same kind of place, for which a plan exists."""
    place: Place = goal.places[0]
    for stages in range(goal.stages + 1, _MORE_STAGES + 1):
        more = Goal(places=(place,) * stages, objective=goal.objective, limits=goal.limits)
        may = allowed(costs, more)
        if best_path(forbidding([np.zeros(may[0].shape)] * stages, may), np.add) is not None:
            return stages
    return None


def _forward(costs: Costs, goal: Goal) -> list[np.ndarray]:
    """Every stage whose end is behind its start."""
    anywhere = Goal(places=(Place(),) * goal.stages, limits=goal.limits)
    return within_memory(costs, anywhere)


def _rounded_up(count_bytes: int, step: float = 1.0) -> float:
    """Mebibytes, rounded up to a step, so that what a message proposes does suffice."""
    return math.ceil(count_bytes / _MEBIBYTE / step) * step
