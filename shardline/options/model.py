"""Options that name a model, its weights, and the pictures that it is measured with."""

import codecs
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal, TypedDict

import typer

from shardline.options.group import option, takes_options
from shardline.partition.preprocessing import check_channels
from shardline.storage.bundle import CHANNELS
from shardline.tasks.registry import TaskName
from shardline.wire.errors import UsageError
from shardline.wire.files import read_bounded
from shardline.wire.typed import Scalar

_PANEL = "Model"
_ONE_EACH = "write a number for each channel: three for red, green and blue, e.g. 0.5,0.5,0.5, or one for grey"

Channels = tuple[float, ...]
"""One number for each channel of the pictures."""

Size = int | tuple[int, int]
"""Size of a model's input in pixels: one number for both sides, or height and width."""

Fit = Literal["crop", "stretch", "letterbox"]
Interpolation = Literal["bilinear", "bicubic", "nearest"]
Mode = Literal["L", "RGB", "RGBA"]
Scores = Literal["logits", "probabilities", "sigmoid"]


class ModelArguments(TypedDict):
    """Arguments of `shardline.capture` that say which model to load, and which pictures to measure it with."""

    model: str
    weights: str | None
    size: Size | None
    fit: Fit | None
    resize: int | None
    interpolation: Interpolation | None
    mode: Mode | None
    inputs: tuple[str, ...]
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
        help="Mean of each channel, such as red, green and blue, from 0 to 1, e.g. 0.5,0.5,0.5 (default: the model's)",
        panel=_PANEL,
    ),
]
StdOption = Annotated[
    str | None,
    option(
        help="Standard deviation of each channel, from 0 to 1, e.g. 0.5,0.5,0.5 (default: the model's)",
        panel=_PANEL,
    ),
]


def _model_options(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="Model to load: plates, efficientnet-lite0, efficientnet-lite2, embedding, torchvision:NAME, "
            "timm:NAME, package.module:factory, a .pt2 file, or the .json of a trained classifier",
        ),
    ],
    weights: Annotated[
        str | None,
        option(
            help="Weights: a name of torchvision weights, a .safetensors or .pt state dict, or random:SEED (default: "
            "the best weights of torchvision or timm; for plates those that ship with Shardline)",
            panel=_PANEL,
        ),
    ] = None,
    size: Annotated[
        str | None,
        option(
            metavar="HEIGHTxWIDTH",
            help="Height and width of the input in pixels, one number for both or two: 224 or 16x64 (default: the "
            "model's)",
            panel=_PANEL,
        ),
    ] = None,
    fit: Annotated[
        Fit | None,
        option(
            help="Method that fits a picture to the input: crop its centre, stretch it, or letterbox it with a grey "
            "border (default: the model's; crop for square inputs, else stretch)",
            panel=_PANEL,
        ),
    ] = None,
    resize: Annotated[
        int | None,
        option(
            min=1,
            help="Length in pixels to which the shorter side is resized before --fit crop, e.g. 249 for a crop of "
            "0.9 of 224 (default: the model's)",
            panel=_PANEL,
        ),
    ] = None,
    interpolation: Annotated[
        Interpolation | None, option(help="Resizing filter (default: the model's, or bilinear)", panel=_PANEL)
    ] = None,
    mode: Annotated[
        Mode | None,
        option(
            help="Channels of the pictures: L (grey), RGB or RGBA (default: as many as the model's first convolution "
            "takes)",
            panel=_PANEL,
        ),
    ] = None,
    inputs: Annotated[
        list[str] | None,
        option(
            "--input",
            metavar="NAME=TYPE",
            help="Input that the model takes after the picture, by its parameter's name: a tensor of one instance such "
            "as mask=float32[1,32,32], a number such as scale=float32, or reference=picture; once for each",
            panel=_PANEL,
        ),
    ] = None,
    pictures: PicturesOption = None,
) -> ModelArguments:
    return {
        "model": model,
        "weights": weights,
        "size": None if size is None else parse_size(size),
        "fit": fit,
        "resize": resize,
        "interpolation": interpolation,
        "mode": mode,
        "inputs": tuple(inputs or ()),
        "pictures": pictures,
    }


def _preparation_options(
    mean: MeanOption = None,
    std: StdOption = None,
    labels: Annotated[
        Path | None,
        option(help="Text file with one class name per line, or: imagenet (default: the model's labels)", panel=_PANEL),
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
    scores: Annotated[
        Scores | None,
        option(
            help="Meaning of a classifier's outputs: logits (softmax is taken), probabilities, or sigmoid: logits of "
            "labels that are independent of each other (default: seen from the outputs)",
            panel=_PANEL,
        ),
    ] = None,
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
        "options": {**parse_task_options(task_option or ()), **({} if scores is None else {"scores": scores})},
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
        UsageError: not 1, 3 or 4 finite numbers, a standard deviation that is not above 0, or numbers for pixels from 0
            to 255.
    """
    try:
        channels = tuple(float(part) for part in text.split(","))
    except ValueError as exc:
        raise UsageError(f"{name} {text!r}: {_ONE_EACH}") from exc
    if len(channels) not in CHANNELS.values():
        raise UsageError(f"{name} {text!r} has {len(channels)} numbers: {_ONE_EACH}")
    if not all(math.isfinite(channel) and (channel > 0 or name != "--std") for channel in channels):
        raise UsageError(f"{name} {text!r}: the numbers must be finite, and a standard deviation above 0")
    check_channels(*((channels, None) if name == "--mean" else (None, channels)))
    return channels


def parse_size(text: str) -> Size:
    """Read the size of an input: '224' -> 224, '16x64' -> (16, 64).

    Raises:
        UsageError: neither form.
    """
    sides = text.lower().split("x")
    if len(sides) > 2 or not all(side.isdecimal() and 0 < int(side) < 10**9 for side in sides):
        raise UsageError(f"--size {text!r}: write the input's height and width in pixels, such as 224 or 16x64")
    return int(sides[0]) if len(sides) == 1 else (int(sides[0]), int(sides[1]))


def read_text(path: Path) -> str:
    """Read a text as editors write it: UTF-8 with or without a byte order mark, or UTF-16 with one (Windows)."""
    data = read_bounded(path)
    return data.decode("utf-16" if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig")


def read_labels(path: Path) -> tuple[str, ...]:
    """Read class names, one per line, in the order of the model's classes; "imagenet" is for ImageNet's 1000 classes.

    Raises:
        UsageError: the file cannot be read, or is empty.
    """
    if str(path) == "imagenet" and not path.exists():
        from shardline.partition.imagenet import imagenet_labels  # loads torchvision

        return imagenet_labels()
    try:
        labels = tuple(line.strip() for line in read_text(path).splitlines() if line.strip())
    except (OSError, UnicodeDecodeError) as exc:
        raise UsageError(
            f"--labels {path} cannot be read: it must be a text file with one class name per line"
        ) from exc
    if not labels:
        raise UsageError(f"--labels {path} is empty: write one class name per line")
    return labels
