"""Plan a model's stages: capture it, measure it, and choose the cuts that make the objective smallest.

A stage's time is the measured time of its model on its device plus a hop, which grows with the bytes of its input and
output. The search is exact (`partition/search.py`); among plans with the same slowest stage it takes the smallest sum.
Then cuts are moved to the ends of modules, where that costs next to nothing.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from shardline.partition.capture import capture
from shardline.partition.costs import Costs, HopCost, costs_of
from shardline.partition.device import choose_device
from shardline.partition.infeasible import check_count, check_pixels, no_plan
from shardline.partition.liveness import Liveness, Position, analyse, tensor_bytes
from shardline.partition.profile import Cache, Profile, profile
from shardline.partition.program import Progress, silent
from shardline.partition.search import (
    FRAME_OVERHEAD_BYTES,
    Goal,
    Matrix,
    Objective,
    Path,
    Place,
    allowed,
    best_by_penalty,
    forbidding,
    hop_ms,
    memory_bytes,
    model_ms,
    stage_ms,
)
from shardline.wire.errors import PlanError
from shardline.wire.limits import Limits, format_bytes

if TYPE_CHECKING:
    from shardline.partition.models import Model

_NEXT_TO_NOTHING = 0.03  # of the objective; measured times vary by more, so nothing real is lost

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class StagePlan:
    """One stage of a plan. `cut` is the position after it, None for the last stage."""

    index: int
    cut: Position | None
    place: Place
    model_ms: float  # one batch
    hop_ms: float  # receiving one batch's tensors and sending the outputs on
    single_ms: float  # a single picture, model and hop
    weight_bytes: int
    peak_bytes: int  # peak of its tensors, one batch
    memory_bytes: int  # weights, peak of the tensors, and the bodies received and sent
    output_bytes: int  # of one instance; 0 for the last stage, whose reply is small


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Cuts of a model into stages, with the measured and counted costs of each stage."""

    batch: int
    threads: int
    objective: Objective
    pixel_bytes: int  # of one instance, the input of stage 0
    limits: Limits
    stages: tuple[StagePlan, ...]

    @property
    def cuts(self) -> tuple[Position, ...]:
        return tuple(stage.cut for stage in self.stages if stage.cut is not None)

    @property
    def slowest_ms(self) -> float:
        """Milliseconds of the slowest stage for one batch, which limit the throughput."""
        return max(stage.model_ms + stage.hop_ms for stage in self.stages)

    @property
    def latency_ms(self) -> float:
        """Milliseconds that a single picture takes through all stages."""
        return sum(stage.single_ms for stage in self.stages)

    @property
    def request_bytes(self) -> int:
        """Bytes of the largest body between two stages, one batch."""
        return max(stage.output_bytes for stage in self.stages) * self.batch

    @property
    def memory_bytes(self) -> int:
        """Memory of the largest stage."""
        return max(stage.memory_bytes for stage in self.stages)

    @property
    def max_instances(self) -> int:
        """Largest number of pictures in one request: as many as fit before stage 0 and at every cut."""
        largest = max(self.pixel_bytes, *(stage.output_bytes for stage in self.stages))
        return (self.limits.request_bytes - FRAME_OVERHEAD_BYTES) // largest


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanOptions:
    """Options of `plan`.

    Attributes:
        stages: number of stages, where `cuts` is empty.
        cuts: names of the positions to cut at, instead of planned ones.
        batch: largest batch that a stage runs.
        limits: limits of a request.
        objective: the figure to minimise.
        devices: devices that times are measured on: one for all stages, or one per stage.
        speeds: speed of the stages' machines relative to the measured one: one for all stages, or one per stage.
        memory_bytes: memory of a stage: one size for all stages, or one per stage; empty for no limit.
        hop: returns the overhead of a stage; called only when cuts are planned, since it may have to be measured.
        cache: holds earlier measurements, and receives new ones.
        fresh: measure even what the cache has.
    """

    stages: int = 3
    cuts: tuple[str, ...] = ()
    batch: int = 1
    limits: Limits = field(default_factory=Limits)
    objective: Objective = Objective.THROUGHPUT
    devices: tuple[str, ...] = ("cpu",)
    speeds: tuple[float, ...] = (1.0,)
    memory_bytes: tuple[int, ...] = ()
    hop: Callable[[], HopCost] = HopCost
    cache: Cache | None = None
    fresh: bool = False


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Planned:
    """A plan together with the analysis, the costs and the goal that it was chosen by."""

    liveness: Liveness
    costs: Costs
    goal: Goal
    plan: Plan


def plan(
    model: "Model", pictures: np.ndarray, options: PlanOptions | None = None, *, progress: Progress = silent
) -> Planned:
    """Capture the model, measure it on `pictures` (uint8 [n, channels, height, width]) and plan its stages.

    Raises:
        ModelError: torch.export does not take the model.
        CutError: a cut that does not exist.
        PlanError: no plan keeps the limits, or options that do not go together.
        UsageError: a device that does not exist.
    """
    options = options or PlanOptions()
    stages = len(options.cuts) + 1 if options.cuts else options.stages
    places = _places(options, stages)
    devices = {name: choose_device(name) for name in dict.fromkeys(options.devices)}
    progress(f"exporting {model.reference}")
    liveness = analyse(capture(model))
    cuts = liveness.find_all(options.cuts)
    check_count(liveness, stages)
    check_pixels(sum(tensor_bytes(node) for node in liveness.inputs), options.limits)
    goal = Goal(
        places=tuple(Place(device=str(devices[name]), speed=speed, memory_bytes=room) for name, speed, room in places),
        objective=options.objective,
        limits=options.limits,
    )
    hop = options.hop() if stages > 1 and not cuts else HopCost()
    costs = _measure(liveness, pictures, options, list(devices.values()), hop, progress)
    chosen = plan_at(liveness, costs, cuts, goal) if cuts else best_plan(liveness, costs, goal)
    return Planned(liveness=liveness, costs=costs, goal=goal, plan=chosen)


def _places(options: PlanOptions, stages: int) -> list[tuple[str, float, int | None]]:
    """Return the device, speed and memory of each stage.

    Raises:
        PlanError: neither one value nor one per stage, or a speed or memory that is not above 0.
    """
    if not all(speed > 0 for speed in options.speeds) or not all(room > 0 for room in options.memory_bytes):
        raise PlanError("--speeds and --memory-per-stage must be above 0")
    return list(
        zip(
            _per_stage("--device", options.devices, stages),
            _per_stage("--speeds", options.speeds, stages),
            _per_stage("--memory-per-stage", options.memory_bytes or (None,), stages),
            strict=True,
        )
    )


def _per_stage(option: str, values: Sequence[_T], stages: int) -> list[_T]:
    if len(values) not in (1, stages):
        raise PlanError(
            f"{option} has {len(values)} values for {stages} stages: give one for all stages, or one per stage"
        )
    return list(values) * stages if len(values) == 1 else list(values)


def _measure(
    liveness: Liveness,
    pictures: np.ndarray,
    options: PlanOptions,
    devices: Sequence[torch.device],
    hop: HopCost,
    progress: Progress,
) -> Costs:
    """Measure a single picture and a batch on each device; `pictures` are uint8 [n, channels, height, width]."""

    def measured(batch: int, device: torch.device) -> Profile:
        pixels = torch.from_numpy(np.resize(pictures, (batch, *pictures.shape[1:])))
        return profile(liveness, pixels, device, cache=options.cache, fresh=options.fresh, progress=progress)

    profiles = {}
    for device in dict.fromkeys(devices):
        single = measured(1, device)
        profiles[str(device)] = single, single if options.batch == 1 else measured(options.batch, device)
    return costs_of(liveness, profiles, hop)


def best_plan(liveness: Liveness, costs: Costs, goal: Goal) -> Plan:
    """Find the best plan that keeps the goal's limits.

    Raises:
        PlanError: there is none; the message names the limit that excludes the nearest plan.
    """
    check_pixels(costs.body_bytes[0], goal.limits)
    stages = allowed(costs, goal)
    path = best_cuts(costs, goal, stages)
    if path is None:
        raise no_plan(liveness, costs, goal)
    return plan_from_edges(liveness, costs, _at_module_ends(liveness, costs, goal, stages, path).edges, goal)


def plan_at(liveness: Liveness, costs: Costs, cuts: Sequence[Position], goal: Goal) -> Plan:
    """Plan with the given cuts.

    Raises:
        PlanError: the picture or a cut passes more than a request may hold, even for one instance, or a stage does not
            fit its memory.
    """
    check_pixels(costs.body_bytes[0], goal.limits)
    for position in cuts:
        passed = costs.body_bytes[position.index + 1]
        if passed + FRAME_OVERHEAD_BYTES > goal.limits.request_bytes:
            raise PlanError(
                f"the cut {position.name} passes {format_bytes(passed)} for one picture; at most "
                f"{format_bytes(goal.limits.request_bytes)} go into one request: cut elsewhere"
            )
    made = plan_from_edges(liveness, costs, [position.index + 1 for position in cuts], goal)
    for stage in made.stages:
        room = stage.place.memory_bytes
        if room is not None and stage.memory_bytes > room:
            raise PlanError(
                f"stage {stage.index} holds {format_bytes(stage.memory_bytes)} (weights "
                f"{format_bytes(stage.weight_bytes)}); it may hold {format_bytes(room)}: cut elsewhere"
            )
    return made


def best_cuts(costs: Costs, goal: Goal, stages: list[NDArray[np.bool_]]) -> Path | None:
    """Find the path with the smallest objective among the allowed stages, bool [edges, edges] each; None if none is."""
    return _least(forbidding(stage_ms(costs, goal), stages), goal.objective, np.zeros(len(stages[0]), np.int64))


def plan_from_edges(liveness: Liveness, costs: Costs, inner: Sequence[int], goal: Goal) -> Plan:
    """Plan whose stages meet at the given edges, with or without regard to limits."""
    held, hops, single_hops = memory_bytes(costs), *(hop_ms(costs, objective) for objective in Objective)
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


def _at_module_ends(liveness: Liveness, costs: Costs, goal: Goal, stages: list[NDArray[np.bool_]], best: Path) -> Path:
    """Find the path with the fewest cuts inside modules that costs next to nothing more: module ends have names."""
    unnamed = np.array([0, *(not position.names for position in liveness.positions), 0], np.int64)
    enough = best.cost * (1 + _NEXT_TO_NOTHING)
    times = forbidding(stage_ms(costs, goal), stages)
    combine = _combine(goal.objective)
    for count, found in enumerate(best_by_penalty(times, combine, unnamed)):
        if found is not None and found.cost <= enough:
            return _least(times, goal.objective, unnamed, count) or found
    return best


def _least(times: list[Matrix], objective: Objective, penalty: NDArray[np.int64], count: int = 0) -> Path | None:
    """Find the cheapest path with `count` penalties; of those with the same slowest stage, that with the smallest sum.

    `times` are float64 [edges, edges], one per stage; `penalty` is int64 [edges].
    """
    found = best_by_penalty(times, _combine(objective), penalty)[count]
    if found is None or objective is Objective.LATENCY:
        return found
    as_fast = [np.where(stage <= found.cost, stage, np.inf) for stage in times]
    smallest_sum = best_by_penalty(as_fast, np.add, penalty)[count]
    return found if smallest_sum is None else Path(found.cost, smallest_sum.edges)


def _combine(objective: Objective) -> np.ufunc:
    return np.maximum if objective is Objective.THROUGHPUT else np.add
