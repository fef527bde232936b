"""Description of a trained classifier in the JSON beside its weights, which `shardline build classifier.json` takes.

It names torchvision's networks and Shardline's own, and no others: a reference to any function would be run by whoever
builds from a stranger's file.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from shardline.partition.models import Model, load_model
from shardline.partition.pictures import Size, resized
from shardline.storage.bundle import PictureSpec
from shardline.wire.errors import FileError, ModelError
from shardline.wire.files import read_bounded
from shardline.wire.typed import typed

KEY = "classifier"  # of the JSON, beside the record of the training
OWN = "shardline.training.classifier.model:SmallResNet"
_TORCHVISION = "torchvision:"
_EARLIER = OWN.removeprefix("shardline.")  # its name before there was one package


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassifierDescription:
    """Description of how a classifier is served; its fields are the keys in the JSON."""

    model: str  # a reference as `load_model` takes it
    picture: PictureSpec
    mean: tuple[float, ...]  # of red, green and blue
    std: tuple[float, ...]
    labels: tuple[str, ...]


def description(model: Model, labels: tuple[str, ...]) -> dict[str, Any]:
    """The part of the JSON that describes how the classifier is served."""
    found = ClassifierDescription(
        model=model.reference, picture=model.picture, mean=model.mean, std=model.std, labels=labels
    )
    return {KEY: asdict(found)}


def load_trained(path: Path, size: Size | None = None) -> Model:
    """Load the classifier that a training wrote: the JSON at `path` and the weights beside it.

    Args:
        size: of its pictures, in place of that which it was trained with.

    Raises:
        FileError: a file is missing or cannot be read.
        ModelError: the JSON is not a training's, the weights are others, or the model does not take them.
    """
    document = _read(path)
    described = _described(path, document)
    weights = path.with_name(Path(str(document.get("weights"))).name)
    _check_digest(weights, document.get("sha256"), path)
    if size is not None:
        described = replace(described, picture=resized(described.picture, size))
    return replace(
        load_model(described.model, str(weights)),
        weights=weights.name,
        picture=described.picture,
        mean=described.mean,
        std=described.std,
        labels=described.labels,
    )


def _read(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(read_bounded(path))
    except FileNotFoundError as exc:
        raise FileError(f"{path} does not exist: `shardline train classifier` writes a classifier.json") from exc
    except (OSError, ValueError) as exc:
        raise FileError(f"{path} cannot be read ({exc}): it must be what `shardline train classifier` wrote") from exc
    if not isinstance(document, dict) or KEY not in document:
        raise ModelError(f"{path} describes no {KEY}: `shardline train classifier` writes a classifier.json")
    return document


def _described(path: Path, document: Mapping[str, Any]) -> ClassifierDescription:
    def error(found: str) -> ModelError:
        return ModelError(f"{path}: {found}: was it changed by hand? Take the one that the training wrote")

    described = typed(ClassifierDescription, document[KEY], KEY, error=error)
    if described.model.partition("?")[0] == _EARLIER:
        described = replace(described, model=f"shardline.{described.model}")
    if len(described.mean) != 3 or len(described.std) != 3:
        raise ModelError(
            f"{path}: mean and std have {len(described.mean)} and {len(described.std)} numbers, allowed are 3"
        )
    if not described.model.startswith(_TORCHVISION) and described.model.partition("?")[0] != OWN:
        raise ModelError(
            f"{path} names the model {described.model}: allowed are {_TORCHVISION}NAME and {OWN}; build any other "
            "model by its own name, with --weights"
        )
    return described


def _check_digest(weights: Path, expected: object, path: Path) -> None:
    try:
        found = hashlib.sha256(weights.read_bytes()).hexdigest()
    except OSError as exc:
        raise FileError(f"{weights} cannot be read, and {path.name} says that the weights lie there") from exc
    if found != expected:
        raise ModelError(f"{weights} has the sha256 {found}, and {path.name} was written with {expected}")
