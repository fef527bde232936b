"""The options that several commands share, named once.

torch takes seconds to import, so the commands import what needs it only when they run: help and mistakes come at once.
"""

import math
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shardline.console import say
from wire.errors import ModelError
from wire.limits import REQUEST_BYTES, Limits

if TYPE_CHECKING:
    import numpy as np

    from partition.build import BuildOptions
    from partition.models import Model

ModelArgument = Annotated[
    str, typer.Argument(metavar="MODEL", help="torchvision:NAME, package.module:factory or a .pt2 file")
]
WeightsOption = Annotated[
    str | None,
    typer.Option(help="torchvision's name (default: its best), a .safetensors or .pt state dict, or random:SEED"),
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
LabelsOption = Annotated[Path | None, typer.Option(help="text file with one class name a line")]
LimitOption = Annotated[str, typer.Option(help="most bytes of a request to a stage, e.g. 6MB")]

_UNITS = {"": 1, "B": 1, "KB": 1024, "MB": 1024**2, "GB": 1024**3}


def load_with_pixels(
    reference: str,
    weights: str | None,
    size: int | None,
    folder: Path | None,
    *,
    mean: str | None = None,
    std: str | None = None,
    labels: Path | None = None,
) -> "tuple[Model, np.ndarray]":
    """The model and real pictures for it, `uint8 [n, 3, height, width]`; random weights are calibrated on them."""
    from partition.calibrate import calibrate
    from partition.models import load_model
    from shardline.samples import calibration_pixels, picture_files, sample_pictures

    say(f"loading {reference}")
    model = load_model(reference, weights, size)
    model = replace(
        model,
        mean=model.mean if mean is None else parse_channels("--mean", mean),
        std=model.std if std is None else parse_channels("--std", std),
        labels=model.labels if labels is None else read_labels(labels),
    )
    pictures = sample_pictures() if folder is None else [path.read_bytes() for path in picture_files(folder)]
    pixels = calibration_pixels(pictures, model.picture)
    if model.random:
        say(f"calibrating on {len(pixels)} views of {len(pictures)} pictures")
        calibrate(model, pixels)
    return model, pixels


def build_options(stages: int, cuts: str | None, batch: int, limit: str) -> "BuildOptions":
    """
    Raises:
        ModelError: `limit` is no size.
    """
    from partition.build import BuildOptions

    names = tuple(name.strip() for name in cuts.split(",") if name.strip()) if cuts else ()
    limits = Limits(request_bytes=parse_bytes(limit))
    return BuildOptions(stages=len(names) + 1 if names else stages, cuts=names, batch=batch, limits=limits)


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


def parse_bytes(text: str) -> int:
    """'6MB' -> 6291456 (1 MB = 1024² bytes).

    Raises:
        ModelError: not a number with a unit.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMG]?B?)", text.strip(), re.IGNORECASE)
    unit = match[2].upper().replace("I", "") if match else None
    if match is None or unit is None:
        raise ModelError(f"--limit {text!r}: write a size such as {REQUEST_BYTES // 1024**2}MB or 512KB")
    return int(float(match[1]) * _UNITS[unit if unit.endswith("B") or not unit else unit + "B"])
