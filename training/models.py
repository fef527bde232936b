"""Models by the names of the command line: short names, references, files and trained classifiers."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from difflib import get_close_matches
from functools import partial
from pathlib import Path

from shardline.partition.models import Model, load_model
from shardline.partition.pictures import Size, resized
from shardline.partition.program import one_line
from shardline.partition.state import read_state
from shardline.partition.timm_models import is_timm_model
from shardline.partition.torchvision_kinds import is_torchvision_model
from shardline.storage.bundle import PictureSpec
from shardline.tasks.plates.grammar import OPTION, PlateGrammar, option_grammar
from shardline.tasks.registry import task_code
from shardline.training.classifier.description import load_trained
from shardline.training.efficientnet_lite import LITE_MODELS, load_lite
from shardline.training.embedding.model import MEAN, SIDE, STD
from shardline.training.weights import read_metadata, shipped_plates
from shardline.wire.errors import ModelError, UsageError
from shardline.wire.limits import PLATE_INPUT_SIDE

_PLATES_FACTORY = "shardline.training.detector.model:PlateDetector"
_EMBEDDING_FACTORY = "shardline.training.embedding.model:EmbeddingNet"
_PLATES_STRIDE = 128
_WHOLE_PICTURE = {"plates": "letterbox", "detect": "letterbox", "segment": "stretch"}  # task -> fit instead of a crop


def load_by_name(reference: str, weights: str | None, size: Size | None, task: str | None = None) -> Model:
    """Load a model as `shardline.partition.models.load_model` does, also by a short name, and for a task.

    Args:
        task: key of shardline.tasks.registry.TASKS; None: the model's own.

    Raises:
        UsageError: an option does not go with the model.
        ModelError: as `load_model`.
    """
    short = SHORT_NAMES.get(reference)
    if short is not None:
        model = short(weights, size)
        if task not in (None, model.task):
            raise UsageError(f"--task {task}: {reference} is a model for the task {model.task}; leave --task out")
        return model
    if reference.endswith(".json"):
        model = _trained(reference, weights, size)
    elif ":" not in reference and not reference.endswith(".pt2"):
        raise UsageError(
            f"{reference!r} names no model{_alternatives(reference)}; allowed are {', '.join(SHORT_NAMES)}, "
            "torchvision:NAME, timm:NAME, package.module:factory, a .pt2 file, and the .json of a classifier's training"
        )
    else:
        model = load_model(reference, weights, size)
    return model if task is None else for_task(model, task)


def for_task(model: Model, task: str) -> Model:
    """The model with another task's labels.

    Pictures of a detector are letterboxed, and those of a segmentation stretched: at a border there may be an object.

    Raises:
        BundleError: an unknown task.
    """
    labels = task_code(task).labels
    changed = replace(model, task=task, labels=model.labels if labels is None else labels(model.task_options))
    fit = _WHOLE_PICTURE.get(task)
    if fit is None or model.task == task:
        return changed
    return replace(changed, picture=replace(model.picture, fit=fit, resize=None))


def _trained(path: str, weights: str | None, size: Size | None) -> Model:
    if weights is not None:
        raise UsageError(f"{path} comes with its own weights; leave --weights {weights} out")
    return load_trained(Path(path), size)


def _plates(weights: str | None, size: Size | None) -> Model:
    """The license plate detector, with the weights that ship unless others are given."""
    picture = resized(
        PictureSpec(height=PLATE_INPUT_SIDE, width=PLATE_INPUT_SIDE, fit="letterbox"), size or PLATE_INPUT_SIDE
    )
    if picture.height % _PLATES_STRIDE or picture.width % _PLATES_STRIDE:
        raise UsageError(
            f"--size {picture.height}x{picture.width}: the license plate detector takes multiples of "
            f"{_PLATES_STRIDE}, such as {PLATE_INPUT_SIDE}"
        )
    shipped = weights is None
    metadata = {} if weights is None else read_metadata(Path(weights))
    grammar = option_grammar({OPTION: metadata[OPTION]} if OPTION in metadata else {})
    if grammar.is_built_in:
        model = load_model(_PLATES_FACTORY, str(shipped_plates()) if shipped else weights)
    else:
        model = _detector_for(grammar, str(weights))
    return replace(
        model,
        reference="plates",
        weights="plates.safetensors, shipped" if shipped else model.weights,
        picture=picture,
        task="plates",
        labels=grammar.classes,
        task_options={} if grammar.is_built_in else {OPTION: grammar.source},
    )


def _detector_for(grammar: PlateGrammar, weights: str) -> Model:
    """The detector for another grammar than the built-in one, with the weights of its training."""
    from shardline.training.detector.model import PlateDetector

    detector = PlateDetector(grammar=grammar)
    try:
        detector.load_state_dict(read_state(Path(weights)))
    except RuntimeError as exc:
        raise ModelError(f"--weights {weights} are of another model than its grammar says: {one_line(exc)}") from exc
    return replace(load_model(_PLATES_FACTORY, "random:0"), module=detector.eval(), weights=weights, random=False)


def _embedding(weights: str | None, size: Size | None) -> Model:
    """The small embedding network for digits (training/embedding); no trained weights ship."""
    if weights is None:
        raise UsageError("embedding: no trained weights ship: give --weights, from `shardline train embedding`")
    if size not in (None, SIDE, (SIDE, SIDE)):
        raise UsageError(f"--size {size}: embedding takes pictures of {SIDE} pixels a side; leave --size out")
    return replace(
        load_model(_EMBEDDING_FACTORY, weights),
        reference="embedding",
        picture=PictureSpec(height=SIDE, width=SIDE, fit="stretch"),
        mean=MEAN,
        std=STD,
        task="retrieve",
    )


def _alternatives(reference: str) -> str:
    """References that the name may stand for, as part of an error message."""
    name = reference.partition("?")[0]
    close = get_close_matches(name, SHORT_NAMES, 1, cutoff=0.8)
    has_name = {"torchvision": is_torchvision_model, "timm": is_timm_model}
    found = [*close, *(f"{source}:{reference}" for source, has in has_name.items() if has(name))]
    return f": did you mean {' or '.join(found)}?" if found else ""


SHORT_NAMES: Mapping[str, Callable[[str | None, Size | None], Model]] = {
    "plates": _plates,
    "embedding": _embedding,
    **{name: partial(load_lite, name) for name in LITE_MODELS},
}
