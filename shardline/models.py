"""A model's name on the command line -> the model: those that ship with Shardline have short names."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

from shardline.partition.models import Model, load_model
from shardline.storage.bundle import PictureSpec
from shardline.tasks.plates.text import CLASSES
from shardline.tasks.registry import task_code
from shardline.training.classifier.served import load_trained
from shardline.wire.errors import ModelError

_PLATES_FACTORY = "shardline.training.detector.model:PlateDetector"
_EMBEDDING_FACTORY = "shardline.training.embedding.model:EmbeddingNet"
_PLATES_PX = 512  # what it is trained with: a larger input, untrained for, makes things worse
_PLATES_STRIDE = 128


def load_by_name(reference: str, weights: str | None, size: int | None, task: str | None = None) -> Model:
    """As `shardline.partition.models.load_model`, with the short names, and for the task that is asked for.

    Args:
        task: "classify", "plates" or "retrieve"; None: the model's own.

    Raises:
        ModelError: as `load_model`, or a task that is not the model's.
    """
    short = SHORT_NAMES.get(reference)
    if short is not None:
        model = short(weights, size)
        if task not in (None, model.task):
            raise ModelError(f"--task {task}: {reference} is a model for the task {model.task}; leave --task out")
        return model
    if reference.endswith(".json"):
        model = _trained(reference, weights, size)
    elif ":" not in reference and not reference.endswith(".pt2"):
        raise ModelError(
            f"{reference!r} names no model; allowed are {', '.join(SHORT_NAMES)}, torchvision:NAME, "
            "package.module:factory, a .pt2 file, and the .json of a classifier's training"
        )
    else:
        model = load_model(reference, weights, size)
    return model if task is None else for_task(model, task)


def for_task(model: Model, task: str) -> Model:
    """The model with another task's labels. A detector's pictures are letter-boxed: at a border there may be a plate.

    Raises:
        BundleError: an unknown task.
    """
    labels = task_code(task).labels
    changed = replace(model, task=task, labels=model.labels if labels is None else labels)
    if task != "plates":
        return changed
    return replace(changed, picture=replace(model.picture, fit="letterbox", resize=None))


def _trained(path: str, weights: str | None, size: int | None) -> Model:
    if weights is not None:
        raise ModelError(f"{path} comes with its own weights; leave --weights {weights} out")
    return load_trained(Path(path), size)


def _plates(weights: str | None, size: int | None) -> Model:
    """The detector of plates that ships with Shardline, with its own weights unless others are given."""
    side = size or _PLATES_PX
    if side % _PLATES_STRIDE:
        raise ModelError(f"--size {side}: the detector of plates takes multiples of {_PLATES_STRIDE}, such as 512")
    shipped = weights is None
    model = load_model(_PLATES_FACTORY, str(shipped_plates()) if shipped else weights)
    return replace(
        model,
        reference="plates",
        weights="plates.safetensors, shipped" if shipped else model.weights,
        picture=PictureSpec(height=side, width=side, fit="letterbox"),
        task="plates",
        labels=CLASSES,
    )


def _embedding(weights: str | None, size: int | None) -> Model:
    """The small network that gives like digits like vectors (training/embedding); none ships trained."""
    from shardline.training.embedding.model import MEAN, SIDE, STD

    if weights is None:
        raise ModelError("embedding: no trained weights ship: give --weights, from `shardline train embedding`")
    if size not in (None, SIDE):
        raise ModelError(f"--size {size}: embedding takes pictures of {SIDE} pixels a side; leave --size out")
    return replace(
        load_model(_EMBEDDING_FACTORY, weights),
        reference="embedding",
        picture=PictureSpec(height=SIDE, width=SIDE, fit="stretch"),
        mean=MEAN,
        std=STD,
        task="retrieve",
    )


def shipped_plates() -> Path:
    """The weights of the detector of plates that ship.

    Raises:
        ModelError: this installation has none.
    """
    spec = find_spec(_PLATES_FACTORY.partition(":")[0])
    assert spec is not None
    assert spec.origin is not None
    path = Path(spec.origin).with_name("plates.safetensors")
    if not path.is_file():
        raise ModelError(
            f"the trained weights of plates are not in this installation ({path.name} beside the detector): give "
            "--weights FILE.safetensors, or random:0, with which no plate is found"
        )
    return path


SHORT_NAMES: Mapping[str, Callable[[str | None, int | None], Model]] = {"plates": _plates, "embedding": _embedding}
