"""A model -> its plan: capture, measure, and choose the cuts."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch

from partition.capture import capture
from partition.costs import measure
from partition.liveness import Liveness, analyse
from partition.models import Model
from partition.plan import Plan, plan, plan_at
from wire.limits import Limits

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanOptions:
    """How to cut. `cuts` names positions; without them `stages` are planned. `batch` is what a stage runs at most."""

    stages: int = 3
    cuts: tuple[str, ...] = ()
    batch: int = 1
    limits: Limits = field(default_factory=Limits)


def make_plan(model: Model, pictures: np.ndarray, options: PlanOptions, say: Progress) -> tuple[Liveness, Plan]:
    """Capture the model, measure it on `pictures` (uint8 [n, 3, height, width]) and plan its stages.

    Raises:
        ModelError, CutError, PlanError: as `capture`, `Liveness.find_all` and `plan` say.
    """
    say(f"exporting {model.reference}")
    liveness = analyse(capture(model))
    positions = liveness.find_all(options.cuts)
    say("measuring")
    costs = measure(liveness, torch.from_numpy(np.resize(pictures, (options.batch, *pictures.shape[1:]))))
    if positions:
        return liveness, plan_at(liveness, costs, positions, options.limits)
    return liveness, plan(liveness, costs, options.stages, options.limits)
