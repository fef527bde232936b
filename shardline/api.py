"""The Python API's way from a model to a bundle: `capture`, `plan`, `build`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Unpack

import numpy as np

from shardline.hops import hop_cost
from shardline.options.plan import PlanArguments
from shardline.partition.build import BuildOptions
from shardline.partition.build import build as build_bundle
from shardline.partition.cache import Cache, user_folder
from shardline.partition.calibrate import calibrate
from shardline.partition.embedding import without_head
from shardline.partition.models import Model
from shardline.partition.planning import Planned, PlanOptions, make_plan
from shardline.partition.segments import Objective
from shardline.storage.bundle import Bundle
from shardline.training.models import load_by_name
from shardline.training.samples import calibration_pixels, golden_picture, picture_files, task_samples

Report = Callable[[str], None]


def _ignore(_: str) -> None:
    pass


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Program:
    """A model that is ready to be planned: loaded, with the pictures that it is measured with.

    `pictures` is uint8 [n, 3, height, width].
    """

    model: Model
    pictures: np.ndarray


def capture(
    model: str,
    *,
    weights: str | None = None,
    size: int | None = None,
    pictures: Path | None = None,
    mean: tuple[float, float, float] | None = None,
    std: tuple[float, float, float] | None = None,
    labels: tuple[str, ...] | None = None,
    task: str | None = None,
    embed: bool = False,
    report: Report = _ignore,
) -> Program:
    """Load a model by its name and prepare real pictures for it; random weights are calibrated on them."""
    report(f"loading {model}")
    loaded = load_by_name(model, weights, size, "retrieve" if embed else task)
    loaded = without_head(loaded) if embed else loaded
    loaded = replace(
        loaded,
        mean=loaded.mean if mean is None else mean,
        std=loaded.std if std is None else std,
        labels=loaded.labels if labels is None else labels,
    )
    files = (
        list(task_samples(loaded.task).values())
        if pictures is None
        else [path.read_bytes() for path in picture_files(pictures)]
    )
    pixels = calibration_pixels(files, loaded.picture)
    if loaded.random:
        report(f"calibrating on {len(pixels)} views of {len(files)} pictures")
        calibrate(loaded, pixels)
    return Program(model=loaded, pictures=pixels)


def plan(program: Program, *, report: Report = _ignore, **arguments: Unpack[PlanArguments]) -> Planned:
    """Measure the program on this machine and choose its cuts."""
    return make_plan(program.model, program.pictures, PlanOptions(**_plan_fields(report, arguments)), report)


def build(
    program: Program,
    folder: Path,
    *,
    name: str,
    precision: str = "fp32",
    targets: Sequence[str] = (),
    report: Report = _ignore,
    **arguments: Unpack[PlanArguments],
) -> Bundle:
    """Plan the program, cut it, and write the bundle at `folder`."""
    options = BuildOptions(**_plan_fields(report, arguments), precision=precision, targets=tuple(targets))
    golden = golden_picture(program.pictures[0], program.model.picture)
    bundle, _ = build_bundle(program.model, name, program.pictures, options, folder, report, golden=golden)
    return bundle


def _plan_fields(report: Report, arguments: PlanArguments) -> dict[str, Any]:
    """The fields of `shardline.partition.planning.PlanOptions`."""
    cache = Cache(user_folder(), report)
    return arguments | {
        "objective": Objective(arguments["objective"]),
        "hop": lambda: hop_cost(arguments["hop"], cache, report, fresh=arguments["fresh"]),
        "cache": cache,
    }
