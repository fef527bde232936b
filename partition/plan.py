"""Costs + limits -> Plan: where to cut so that the slowest stage is as fast as can be.

Exact dynamic programming over the positions: best[k][i] is the smallest slowest-stage time of cutting what lies before
position i into k stages. A stage's time is its model's measured time plus the hops that bring its input and take away
its output. A position whose tensors, for one batch, do not fit a request is no candidate.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from partition.costs import Costs, hop_ms
from partition.liveness import Liveness, Position, tensor_bytes
from wire.errors import PlanError
from wire.limits import Limits, mebibytes

# What a frame's header and metadata may add to its tensors.
FRAME_OVERHEAD_BYTES = 16 * 1024
_NEXT_TO_NOTHING = 0.03  # of the slowest stage's time


@dataclass(frozen=True, slots=True, kw_only=True)
class StagePlan:
    """One stage as planned. `cut` is the position after it, None for the last stage."""

    index: int
    cut: Position | None
    model_ms: float  # one batch
    hop_ms: float  # sending one batch's tensors on
    weight_bytes: int
    output_bytes: int  # of one instance; 0 for the last stage, whose reply is small


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    batch: int
    threads: int
    pixel_bytes: int  # of one instance, what goes to stage 0
    limits: Limits
    stages: tuple[StagePlan, ...]

    @property
    def cuts(self) -> tuple[Position, ...]:
        return tuple(stage.cut for stage in self.stages if stage.cut is not None)

    @property
    def slowest_ms(self) -> float:
        return max(stage.model_ms + stage.hop_ms for stage in self.stages)

    @property
    def max_instances(self) -> int:
        """The most pictures in one request: as many as fit a request before stage 0 and at every cut."""
        largest = max(self.pixel_bytes, *(stage.output_bytes for stage in self.stages))
        return (self.limits.request_bytes - FRAME_OVERHEAD_BYTES) // largest


def plan(liveness: Liveness, costs: Costs, stages: int, limits: Limits) -> Plan:
    """The plan with `stages` stages whose slowest stage is fastest.

    Raises:
        PlanError: fewer positions than needed, or none whose tensors fit a request.
    """
    if stages < 1:
        raise PlanError(f"--stages {stages}: a plan has at least 1 stage")
    fitting = [each for each in liveness.positions if _fits(costs.live_bytes[each.index] * costs.batch, limits)]
    if len(fitting) < stages - 1:
        smallest = min(costs.live_bytes, default=0)
        raise PlanError(
            f"{stages} stages need {stages - 1} cuts; only {len(fitting)} of {len(liveness.positions)} positions pass "
            f"at most {mebibytes(limits.request_bytes)} for a batch of {costs.batch} (the smallest passes "
            f"{mebibytes(smallest * costs.batch)}): take fewer stages or a smaller --batch"
        )
    best = plan_at(liveness, costs, _best_cuts(fitting, costs, stages), limits)
    return _at_named_positions(liveness, costs, best, fitting)


def plan_at(liveness: Liveness, costs: Costs, cuts: Sequence[Position], limits: Limits) -> Plan:
    """The plan with these cuts.

    Raises:
        PlanError: the picture or a cut passes more than a request may hold, even for one instance.
    """
    pixel_bytes = tensor_bytes(liveness.pixels)
    if not _fits(pixel_bytes, limits):
        raise PlanError(
            f"one picture has {mebibytes(pixel_bytes)} of pixels; at most {mebibytes(limits.request_bytes)} go into "
            "one request: take a smaller --size"
        )
    for position in cuts:
        passed = costs.live_bytes[position.index]
        if not _fits(passed, limits):
            raise PlanError(
                f"the cut {position.name} passes {mebibytes(passed)} for one picture; at most "
                f"{mebibytes(limits.request_bytes)} go into one request: cut elsewhere"
            )
    bounds = [-1, *(position.index for position in cuts), len(liveness.positions)]
    return Plan(
        batch=costs.batch,
        threads=costs.threads,
        pixel_bytes=pixel_bytes,
        limits=limits,
        stages=tuple(
            StagePlan(
                index=index,
                cut=cuts[index] if index < len(cuts) else None,
                model_ms=_between(costs.model_ms, start, end),
                hop_ms=_hop_after(costs, end),
                weight_bytes=int(_between(costs.weight_bytes, start, end)),
                output_bytes=costs.live_bytes[end] if index < len(cuts) else 0,
            )
            for index, (start, end) in enumerate(pairwise(bounds))
        ),
    )


def _at_named_positions(liveness: Liveness, costs: Costs, best: Plan, fitting: Sequence[Position]) -> Plan:
    """The plan with each cut at the end of a module where that costs next to nothing: such cuts have names to speak of.

    Measured times tremble more than `_NEXT_TO_NOTHING`, so nothing real is lost.
    """
    allowed_ms = best.slowest_ms * (1 + _NEXT_TO_NOTHING)
    for index, position in enumerate(best.cuts):
        named = sorted((each for each in fitting if each.names), key=lambda each: abs(each.index - position.index))
        for candidate in [] if position.names else named:
            cuts = [*best.cuts[:index], candidate, *best.cuts[index + 1 :]]
            if all(before.index < after.index for before, after in pairwise(cuts)):
                moved = plan_at(liveness, costs, cuts, best.limits)
                if moved.slowest_ms <= allowed_ms:
                    best = moved
                    break
    return best


def _fits(tensors_bytes: int, limits: Limits) -> bool:
    """Do tensors of so many bytes go into one request?"""
    return tensors_bytes + FRAME_OVERHEAD_BYTES <= limits.request_bytes


def _between(sums: Sequence[float], start: int, end: int) -> float:
    return sums[end] - (sums[start] if start >= 0 else 0)


def _hop_after(costs: Costs, end: int) -> float:
    return hop_ms(costs.live_bytes[end] * costs.batch) if end < len(costs.live_bytes) else hop_ms(0)


def _best_cuts(fitting: Sequence[Position], costs: Costs, stages: int) -> list[Position]:
    """The cuts of the fastest plan, by dynamic programming: O(stages × positions²)."""
    ends = [position.index for position in fitting]
    best = [[math.inf] * len(ends) for _ in range(stages - 1)]
    came_from = [[-1] * len(ends) for _ in range(stages - 1)]
    for i, end in enumerate(ends):
        if stages > 1:
            best[0][i] = _stage_ms(costs, -1, end)
    for k in range(1, stages - 1):
        for i, end in enumerate(ends):
            for j in range(i):
                slowest = max(best[k - 1][j], _stage_ms(costs, ends[j], end))
                if slowest < best[k][i]:
                    best[k][i], came_from[k][i] = slowest, j
    return _trace(fitting, costs, best, came_from) if stages > 1 else []


def _trace(
    fitting: Sequence[Position], costs: Costs, best: Sequence[Sequence[float]], came_from: Sequence[Sequence[int]]
) -> list[Position]:
    end = len(costs.live_bytes)
    last = len(best) - 1
    at = min(range(len(fitting)), key=lambda i: max(best[last][i], _stage_ms(costs, fitting[i].index, end)))
    cuts = []
    for k in range(last, -1, -1):
        cuts.append(fitting[at])
        at = came_from[k][at]
    return cuts[::-1]


def _stage_ms(costs: Costs, start: int, end: int) -> float:
    return _between(costs.model_ms, start, end) + _hop_after(costs, end)
