"""Options that name a model, its weights, and the pictures that it is measured with."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, TypedDict

import typer

from shardline.options.group import option, takes_options
from shardline.tasks.registry import TaskName
from shardline.wire.errors import UsageError
from shardline.wire.typed import Scalar

_PANEL = "Model"

Channels = tuple[float, float, float]


class ModelArguments(TypedDict):
    """Arguments of `shardline.capture` that say which model to load, and which pictures to measure it with."""

    model: str
    weights: str | None
    size: int | None
    pictures: Path | None


class PreparationArguments(TypedDict):
    """Arguments of `shardline.capture` that say how pictures are normalised and what the outputs mean."""

    mean: Channels | None
    std: Channels | None
    labels: tuple[str, ...] | None
    task: TaskName | None
    options: dict[str, Scalar]
    embed: bool


PicturesOption = Annotated[
    Path | None,
    option(
        help="Folder of pictures to measure and calibrate with (default: the photographs in scikit-image)", panel=_PANEL
    ),
]
MeanOption = Annotated[
    str | None,
    option(
        help="Mean of the red, green and blue channel, from 0 to 1, e.g. 0.5,0.5,0.5 (default: the model's)",
        panel=_PANEL,
    ),
]
StdOption = Annotated[
    str | None,
    option(
        help="Standard deviation of the red, green and blue channel, e.g. 0.5,0.5,0.5 (default: the model's)",
        panel=_PANEL,
    ),
]


def _model_options(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="Model to load: plates, embedding, torchvision:NAME, package.module:factory, a .pt2 file, or the "
            ".json of a trained classifier",
        ),
    ],
    weights: Annotated[
        str | None,
        option(
            help="Weights: a name of torchvision weights, a .safetensors or .pt state dict, or random:SEED (default: "
            "torchvision's best weights; for plates those that ship with Shardline)",
            panel=_PANEL,
        ),
    ] = None,
    size: Annotated[
        int | None, option(min=1, help="Height and width of the input in pixels (default: the model's)", panel=_PANEL)
    ] = None,
    pictures: PicturesOption = None,
) -> ModelArguments:
    return {"model": model, "weights": weights, "size": size, "pictures": pictures}


def _preparation_options(
    mean: MeanOption = None,
    std: StdOption = None,
    labels: Annotated[
        Path | None, option(help="Text file with one class name per line (default: the model's labels)", panel=_PANEL)
    ] = None,
    task: Annotated[
        TaskName | None,
        option(
            help="Task that turns the model's outputs into replies (default: classify, or the task of the short name)",
            panel=_PANEL,
        ),
    ] = None,
    task_option: Annotated[
        list[str] | None,
        option(
            "--option",
            help="Option of the task as NAME=VALUE, which says what the model's outputs mean, e.g. boxes=cxcywh; "
            "repeatable (default: the task's own)",
            panel=_PANEL,
        ),
    ] = None,
    embed: Annotated[
        bool,
        option(
            "--embed", help="Remove the classification layer, so that the model serves --task retrieve", panel=_PANEL
        ),
    ] = False,
) -> PreparationArguments:
    """
    Raises:
        UsageError: a value that cannot be read.
    """
    if embed and task not in (None, "retrieve"):
        raise UsageError(f"--embed gives a model for --task retrieve, not {task}: leave one of them out")
    return {
        "mean": None if mean is None else parse_channels("--mean", mean),
        "std": None if std is None else parse_channels("--std", std),
        "labels": None if labels is None else read_labels(labels),
        "task": task,
        "options": parse_task_options(task_option or ()),
        "embed": embed,
    }


takes_model_options = takes_options("model", _model_options)
takes_preparation_options = takes_options("preparation", _preparation_options)


def parse_task_options(texts: Sequence[str]) -> dict[str, Scalar]:
    """Read options of a task: 'iou=0.5' -> {"iou": 0.5}. A value that is no number is a text.

    Raises:
        UsageError: not NAME=VALUE, or a name that is there twice.
    """
    options: dict[str, Scalar] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (name and equals and value) or name in options:
            raise UsageError(f"--option {text!r}: write each option once, as NAME=VALUE, e.g. boxes=cxcywh")
        options[name] = _scalar(value)
    return options


def _scalar(text: str) -> Scalar:
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if type(value) in (int, float) else text


def parse_channels(name: str, text: str) -> Channels:
    """Read one number for each channel: '0.5,0.5,0.5' -> (0.5, 0.5, 0.5).

    Raises:
        UsageError: not three finite numbers, or a standard deviation that is not above 0.
    """
    try:
        red, green, blue = (float(part) for part in text.split(","))
    except ValueError as exc:
        raise UsageError(f"{name} {text!r}: write three numbers, for red, green and blue, e.g. 0.5,0.5,0.5") from exc
    if not all(math.isfinite(channel) and (channel > 0 or name != "--std") for channel in (red, green, blue)):
        raise UsageError(f"{name} {text!r}: the numbers must be finite, and a standard deviation above 0")
    return red, green, blue


def read_labels(path: Path) -> tuple[str, ...]:
    """Read class names, one per line, in the order of the model's classes.

    Raises:
        UsageError: the file cannot be read, or is empty.
    """
    try:
        labels = tuple(line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip())
    except (OSError, UnicodeDecodeError) as exc:
        raise UsageError(
            f"--labels {path} cannot be read: it must be a text file with one class name per line"
        ) from exc
    if not labels:
        raise UsageError(f"--labels {path} is empty: write one class name per line")
    return labels
