"""How a trained classifier is to be served, in the JSON beside its weights: `shardline build classifier.json` takes it.

It names torchvision's networks and Shardline's own, and no others: a reference to any function would be run by whoever
builds from a stranger's file.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from shardline.partition.models import Model, load_model, resized
from shardline.storage.bundle import PictureSpec
from shardline.wire.errors import ModelError
from shardline.wire.typed import typed

KEY = "classifier"  # of the JSON, beside how the weights came about
OWN = "shardline.training.classifier.model:SmallResNet"
_TORCHVISION = "torchvision:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """`model` is a reference as `load_model` takes it, `mean` and `std` have three numbers."""

    model: str
    picture: PictureSpec
    mean: tuple[float, ...]
    std: tuple[float, ...]
    labels: tuple[str, ...]


def description(model: Model, labels: tuple[str, ...]) -> dict[str, Any]:
    """What the JSON says of it."""
    served = Served(model=model.reference, picture=model.picture, mean=model.mean, std=model.std, labels=labels)
    return {KEY: asdict(served)}


def load_trained(path: Path, size: int | None = None) -> Model:
    """The classifier that a training wrote to `path` and the weights beside it.

    Args:
        size: height and width in pixels in place of those that it was trained with.

    Raises:
        ModelError: no such file, one that is not a training's, other weights than it was written with, or a model that
            does not take them.
    """
    document = _read(path)
    served = _served(path, document)
    weights = path.with_name(Path(str(document.get("weights"))).name)
    _check_digest(weights, document.get("sha256"), path)
    if size is not None:
        served = replace(served, picture=resized(served.picture, size))
    mean, std = ((each[0], each[1], each[2]) for each in (served.mean, served.std))
    loaded = load_model(served.model, str(weights))
    return replace(loaded, weights=weights.name, picture=served.picture, mean=mean, std=std, labels=served.labels)


def _read(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as exc:
        raise ModelError(f"{path} does not exist: `shardline train classifier` writes a classifier.json") from exc
    except (OSError, ValueError) as exc:
        raise ModelError(f"{path} cannot be read ({exc}): it must be what `shardline train classifier` wrote") from exc
    if not isinstance(document, dict) or KEY not in document:
        raise ModelError(f"{path} says nothing of a {KEY}: `shardline train classifier` writes a classifier.json")
    return document


def _served(path: Path, document: Mapping[str, Any]) -> Served:
    def error(found: str) -> ModelError:
        return ModelError(f"{path}: {found}: was it changed by hand? Take the one that the training wrote")

    served = typed(Served, document[KEY], KEY, error=error)
    if len(served.mean) != 3 or len(served.std) != 3:
        raise ModelError(f"{path}: mean and std have {len(served.mean)} and {len(served.std)} numbers, allowed are 3")
    if not served.model.startswith(_TORCHVISION) and served.model.partition("?")[0] != OWN:
        raise ModelError(
            f"{path} names the model {served.model}: allowed are {_TORCHVISION}NAME and {OWN}; another is given to "
            "build by its own name, with --weights"
        )
    return served


def _check_digest(weights: Path, expected: object, path: Path) -> None:
    try:
        found = hashlib.sha256(weights.read_bytes()).hexdigest()
    except OSError as exc:
        raise ModelError(f"{weights} cannot be read, and {path.name} says that the weights lie there") from exc
    if found != expected:
        raise ModelError(f"{weights} has the sha256 {found}, and {path.name} was written with {expected}")
