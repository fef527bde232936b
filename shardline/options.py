"""The options that several commands share, named once.

torch takes seconds to import, so the commands import what needs it only when they run: help and mistakes come at once.
"""

import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from shardline.console import say
from shardline.manifests.quantities import parse_bytes
from shardline.wire.errors import ModelError
from shardline.wire.limits import Limits

if TYPE_CHECKING:
    import numpy as np

    from shardline.partition.models import Model

ModelArgument = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="plates, embedding, torchvision:NAME, package.module:factory, a .pt2 file, or a trained classifier.json",
    ),
]
WeightsOption = Annotated[
    str | None,
    typer.Option(
        help="torchvision's name (default: its best), a .safetensors or .pt state dict, or random:SEED; "
        "default of plates: those that ship with it"
    ),
]
StagesOption = Annotated[int, typer.Option(min=1, help="number of stages; the cuts are planned by measured time")]
CutsOption = Annotated[
    str | None, typer.Option(help="cut here instead: modules (layer2.1,layer3.3), nodes or position numbers")
]
BatchOption = Annotated[int, typer.Option(min=1, help="instances in one request that every cut must leave room for")]
SizeOption = Annotated[int | None, typer.Option(min=1, help="height and width in pixels, in place of the model's own")]
PicturesOption = Annotated[
    Path | None, typer.Option(help="folder of pictures to measure and calibrate with; default: scikit-image's own")
]
MeanOption = Annotated[str | None, typer.Option(help="mean of each channel, e.g. 0.5,0.5,0.5, in place of the model's")]
StdOption = Annotated[str | None, typer.Option(help="standard deviation of each channel, likewise")]
TaskOption = Annotated[
    Literal["classify", "plates", "retrieve"] | None,
    typer.Option(help="what is made of the model's outputs; default: classify, or the short name's own"),
]
LabelsOption = Annotated[Path | None, typer.Option(help="text file with one class name a line")]
LimitOption = Annotated[
    str, typer.Option(help="size of the largest request to a stage, e.g. 6Mi (Kubernetes' notation)")
]
ObjectiveOption = Annotated[
    Literal["throughput", "latency"],
    typer.Option(help="make the slowest stage fast (one batch), or the sum of all (one picture alone)"),
]
MemoryOption = Annotated[
    str | None,
    typer.Option(help="most bytes that a stage's weights, activations and bodies take, e.g. 2Gi; or one size a stage"),
]
DeviceOption = Annotated[
    str, typer.Option(help="where times are measured: cpu, or a GPU that is here (cuda); or one device a stage")
]
SpeedsOption = Annotated[
    str | None, typer.Option(help="how many times as fast as measured each stage's machine is, e.g. 1,1,4")
]
HopOption = Annotated[
    str | None,
    typer.Option(help="ms that a stage costs beside its model, and ms a MB, e.g. 0.4,3; default: measured here, once"),
]
FreshOption = Annotated[bool, typer.Option("--fresh", help="measure even what was measured before")]


def load_with_pixels(
    reference: str,
    weights: str | None,
    size: int | None,
    folder: Path | None,
    *,
    mean: str | None = None,
    std: str | None = None,
    labels: Path | None = None,
    task: str | None = None,
    embed: bool = False,
) -> "tuple[Model, np.ndarray]":
    """The model and real pictures for it, `uint8 [n, 3, height, width]`; random weights are calibrated on them."""
    from shardline.models import load_by_name
    from shardline.partition.calibrate import calibrate
    from shardline.partition.embedding import without_head
    from shardline.samples import calibration_pixels, picture_files, task_samples

    say(f"loading {reference}")
    model = load_by_name(reference, weights, size, "retrieve" if embed else task)
    model = without_head(model) if embed else model
    model = replace(
        model,
        mean=model.mean if mean is None else parse_channels("--mean", mean),
        std=model.std if std is None else parse_channels("--std", std),
        labels=model.labels if labels is None else read_labels(labels),
    )
    pictures = (
        list(task_samples(model.task).values())
        if folder is None
        else [path.read_bytes() for path in picture_files(folder)]
    )
    pixels = calibration_pixels(pictures, model.picture)
    if model.random:
        say(f"calibrating on {len(pixels)} views of {len(pictures)} pictures")
        calibrate(model, pixels)
    return model, pixels


def planning_options(
    *,
    stages: int,
    cuts: str | None,
    batch: int,
    limit: str,
    objective: str,
    memory_per_stage: str | None,
    device: str,
    speeds: str | None,
    hop: str | None,
    fresh: bool,
) -> dict[str, Any]:
    """The fields of `shardline.partition.planning.PlanOptions`.

    Raises:
        ModelError: an option's value is none of its kind.
        UsageError: a size that is not written as Kubernetes does.
    """
    names = _listed(cuts or "")
    fields = {
        "stages": len(names) + 1 if names else stages,
        "cuts": names,
        "batch": batch,
        "limits": Limits(request_bytes=parse_bytes(limit, "--limit")),
        "memory_bytes": tuple(parse_bytes(each, "--memory-per-stage") for each in _listed(memory_per_stage or "")),
        "devices": _listed(device),
        "speeds": (1.0,) if speeds is None else tuple(parse_number("--speeds", each) for each in _listed(speeds)),
        "fresh": fresh,
    }
    given = None if hop is None else parse_hop(hop)

    from shardline.hops import hop_cost
    from shardline.partition.cache import Cache, user_folder
    from shardline.partition.segments import Objective

    cache = Cache(user_folder(), say)
    hops = {"hop": lambda: hop_cost(given, cache, say, fresh=fresh), "cache": cache}
    return fields | hops | {"objective": Objective(objective)}


def _listed(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def parse_hop(text: str) -> tuple[float, float]:
    """'0.4,3' -> ms, ms a MB.

    Raises:
        ModelError: not two numbers, or one below 0.
    """
    parts = _listed(text)
    if len(parts) != 2:
        raise ModelError(f"--hop {text!r}: write two numbers, ms a stage and ms a MB, e.g. 0.4,3")
    fixed_ms, per_mebibyte_ms = (parse_number("--hop", part, least=0) for part in parts)
    return fixed_ms, per_mebibyte_ms


def parse_number(option: str, text: str, least: float = 1e-6) -> float:
    """
    Raises:
        ModelError: no finite number from `least` up.
    """
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not least <= number < math.inf:
        raise ModelError(f"{option} {text!r}: write numbers {'from' if least == 0 else 'above'} 0")
    return number


def parse_channels(option: str, text: str) -> tuple[float, float, float]:
    """'0.5,0.5,0.5' -> three numbers.

    Raises:
        ModelError: not three finite numbers, or a standard deviation that is not above 0.
    """
    try:
        red, green, blue = (float(part) for part in text.split(","))
    except ValueError as exc:
        raise ModelError(f"{option} {text!r}: write three numbers, for red, green and blue, e.g. 0.5,0.5,0.5") from exc
    if not all(math.isfinite(each) and (each > 0 or option != "--std") for each in (red, green, blue)):
        raise ModelError(f"{option} {text!r}: the numbers must be finite, and a standard deviation above 0")
    return red, green, blue


def read_labels(path: Path) -> tuple[str, ...]:
    """One class name a line, in the order of the model's classes.

    Raises:
        ModelError: the file cannot be read, or holds none.
    """
    try:
        labels = tuple(line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip())
    except (OSError, UnicodeDecodeError) as exc:
        raise ModelError(f"--labels {path} cannot be read: it must be a text file with one class name a line") from exc
    if not labels:
        raise ModelError(f"--labels {path} is empty: write one class name a line")
    return labels
