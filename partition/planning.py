"""A model -> its plan: capture, measure, and choose the cuts."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import torch

from shardline.partition.cache import Cache
from shardline.partition.capture import capture
from shardline.partition.costs import Costs, HopCost, costs_of
from shardline.partition.device import choose_device
from shardline.partition.liveness import Liveness, analyse, tensor_bytes
from shardline.partition.models import Model
from shardline.partition.plan import Plan, plan, plan_at
from shardline.partition.profile import Profile, profile
from shardline.partition.refusal import check_count, check_pixels
from shardline.partition.segments import Goal, Objective, Place
from shardline.wire.errors import PlanError
from shardline.wire.limits import Limits

Progress = Callable[[str], None]
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanOptions:
    """How to cut. `cuts` names positions; without them `stages` are planned. `batch` is what a stage runs at most.

    `devices`, `speeds` and `memory_bytes` have one value for all stages, or one for each.
    """

    stages: int = 3
    cuts: tuple[str, ...] = ()
    batch: int = 1
    limits: Limits = field(default_factory=Limits)
    objective: Objective = Objective.THROUGHPUT
    devices: tuple[str, ...] = ("cpu",)
    speeds: tuple[float, ...] = (1.0,)
    memory_bytes: tuple[int, ...] = ()
    hop: Callable[[], HopCost] = HopCost  # asked for when stages are to be planned, for it may have to be measured
    cache: Cache | None = None
    fresh: bool = False  # measure even what the cache has


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Planned:
    """A plan with all that it was chosen by."""

    liveness: Liveness
    costs: Costs
    goal: Goal
    plan: Plan


def make_plan(model: Model, pictures: np.ndarray, options: PlanOptions, say: Progress) -> Planned:
    """Capture the model, measure it on `pictures` (uint8 [n, 3, height, width]) and plan its stages.

    Raises:
        ModelError, CutError, PlanError: as `capture`, `choose_device`, `Liveness.find_all` and `plan` say.
    """
    stages = len(options.cuts) + 1 if options.cuts else options.stages
    places = _places(options, stages)
    devices = {name: choose_device(name) for name in dict.fromkeys(options.devices)}
    say(f"exporting {model.reference}")
    liveness = analyse(capture(model))
    cuts = liveness.find_all(options.cuts)
    check_count(liveness, stages)
    check_pixels(tensor_bytes(liveness.pixels), options.limits)
    goal = Goal(
        places=tuple(Place(device=str(devices[name]), speed=speed, memory_bytes=room) for name, speed, room in places),
        objective=options.objective,
        limits=options.limits,
    )
    hop = options.hop() if stages > 1 and not cuts else HopCost()
    costs = _measured(liveness, pictures, options, list(devices.values()), hop, say)
    chosen = plan_at(liveness, costs, cuts, goal) if cuts else plan(liveness, costs, goal)
    return Planned(liveness=liveness, costs=costs, goal=goal, plan=chosen)


def _places(options: PlanOptions, stages: int) -> list[tuple[str, float, int | None]]:
    """Device, speed and memory of each stage.

    Raises:
        PlanError: neither one value nor one for each stage, or a speed or memory that is not above 0.
    """
    if not all(speed > 0 for speed in options.speeds) or not all(room > 0 for room in options.memory_bytes):
        raise PlanError("--speeds and --memory-per-stage must be above 0")
    return list(
        zip(
            _each("--device", options.devices, stages),
            _each("--speeds", options.speeds, stages),
            _each("--memory-per-stage", options.memory_bytes or (None,), stages),
            strict=True,
        )
    )


def _each(option: str, values: Sequence[_T], stages: int) -> list[_T]:
    if len(values) not in (1, stages):
        raise PlanError(f"{option} has {len(values)} values for {stages} stages: give one for all, or one for each")
    return list(values) * stages if len(values) == 1 else list(values)


def _measured(
    liveness: Liveness,
    pictures: np.ndarray,
    options: PlanOptions,
    devices: Sequence[torch.device],
    hop: HopCost,
    say: Progress,
) -> Costs:
    """The costs on each device, of one picture and of a batch."""

    def measured(batch: int, device: torch.device) -> Profile:
        pixels = torch.from_numpy(np.resize(pictures, (batch, *pictures.shape[1:])))
        return profile(liveness, pixels, device, say, cache=options.cache, fresh=options.fresh)

    profiles = {}
    for device in dict.fromkeys(devices):
        single = measured(1, device)
        profiles[str(device)] = single, single if options.batch == 1 else measured(options.batch, device)
    return costs_of(liveness, profiles, hop)
