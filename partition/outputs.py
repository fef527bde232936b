"""Checks of a model's outputs on pictures before it is cut: are they what the task reads, and what are the scores?"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from shardline.partition.capture import broken_weights, run_whole, whole_module, with_samples
from shardline.partition.guard import users_code
from shardline.partition.preprocessing import OPTION
from shardline.partition.program import Progress, silent
from shardline.wire.errors import ModelError

if TYPE_CHECKING:
    from shardline.partition.models import Model

_PICTURES = 8
_SUM_TOLERANCE = 1e-3  # of a row of probabilities; bf16 rounds to 1/256, and 1000 such errors nearly cancel
_SORTED_CLASSES = 5  # so many values in the order of their classes for every picture are no coincidence
_MATRIX_TASKS: Mapping[str, str] = {"classify": "classes", "retrieve": "width"}  # task -> second dimension it reads

Matrix = NDArray[np.float64]


def check_outputs(model: "Model", pixels: np.ndarray, progress: Progress = silent) -> "Model":
    """Run a model on pictures and check that its task can read the outputs; tasks of other outputs are not checked.

    A classifier gets the option "scores" where its outputs are probabilities and no option says what they are.

    Args:
        pixels: real pictures of the model's size, uint8 [n, channels, height, width].
        progress: receives a line for everything that looks wrong and may be right.

    Raises:
        ModelError: the model does not run on the pictures, or its outputs are none that the task can read.
    """
    if model.task not in _MATRIX_TASKS or not len(pixels):
        return model
    chosen = pixels[:: -(-len(pixels) // _PICTURES)]
    outputs = _run(model, chosen)
    rows = _matrix(model, outputs, len(chosen))
    if model.random:
        progress("the weights are random: labels and scores mean nothing")
    if model.task != "classify":
        return model
    _check_classes(model, rows)
    _check_topk(model, rows, outputs)
    model = _with_scores(model, rows)
    for warning in _warnings(model, rows):
        progress(f"warning: {warning}")
    return model


def _run(model: "Model", pixels: np.ndarray) -> list[torch.Tensor]:
    picture = model.picture
    what = f"{model.reference} does not run on {len(pixels)} pictures of {picture.height}x{picture.width}: it"
    with users_code(what, f"; it must take float32 {list(pixels.shape)}"):
        found = run_whole(whole_module(model), *with_samples(model, torch.from_numpy(np.ascontiguousarray(pixels))))
    if not all(isinstance(value, torch.Tensor) for value in found):
        raise ModelError(f"{model.reference} gives an output that is no tensor; return tensors only")
    return found


def _matrix(model: "Model", outputs: list[torch.Tensor], count: int) -> Matrix:
    """The output that the task reads, the first float [batch, n], as float64.

    Raises:
        ModelError: there is none, it has another number of rows, or NaN or infinity in it.
    """
    second = _MATRIX_TASKS[model.task]
    output = next(
        (value for value in outputs if value.dim() == 2 and value.shape[1] and value.is_floating_point()), None
    )
    if output is None:
        found = ", ".join(_described(value) for value in outputs) or "none"
        raise ModelError(
            f"{model.reference}: the model's outputs are {found}; {model.task} needs float [batch, {second}]: "
            f"{_remedy(model, outputs)}"
        )
    if len(output) != count:
        raise ModelError(
            f"{model.reference}: for {count} pictures the output has {len(output)} rows; it must have one row for each "
            "picture: do not filter or merge rows in forward"
        )
    rows: Matrix = output.double().numpy()
    broken = np.flatnonzero(~np.isfinite(rows).all(axis=1))
    if broken.size:
        raise ModelError(
            f"{model.reference}: the model gives NaN or infinity for {broken.size} of {count} pictures: "
            f"{broken_weights(whole_module(model))}; check --mean and --std, too"
        )
    return rows


def _described(value: torch.Tensor) -> str:
    return f"{str(value.dtype).removeprefix('torch.')}{['batch', *value.shape[1:]]}".replace("'", "")


def _remedy(model: "Model", outputs: list[torch.Tensor]) -> str:
    if model.task == "retrieve":
        return "build from a model that gives one vector for each picture, or remove a classifier's head with --embed"
    floats = [value for value in outputs if value.is_floating_point()]
    if any(value.dim() == 4 for value in floats):
        return "for scores of each pixel use --task segment, else --task raw"
    if len(floats) > 1 or any(value.dim() == 3 for value in floats):
        return "for boxes use --task detect, else --task raw"
    return "use --task raw, which replies with the numbers"


def _check_classes(model: "Model", rows: Matrix) -> None:
    if rows.shape[1] == 1 and model.task_options.get("scores") != "sigmoid":
        raise ModelError(
            f"{model.reference}: the output is float [batch, 1]: one class is no classification, its score would "
            "always be 100 %; use --task raw for a number, or --scores sigmoid for the logit of one label"
        )


def _check_topk(model: "Model", rows: Matrix, outputs: list[torch.Tensor]) -> None:
    """Refuse rows that are sorted already: the best class would be class 0 for every picture."""
    classes = rows.shape[1]
    if classes < 2 or len(rows) < 2 or (np.diff(rows, axis=1) > 0).any():
        return
    indexes = [value for value in outputs if value.shape == rows.shape and not value.is_floating_point()]
    if indexes or (classes >= _SORTED_CLASSES and np.diff(rows, axis=1).any()):
        raise ModelError(
            f"{model.reference}: the {classes} scores of every picture are sorted, highest first, so that class 0 "
            "would always be the answer: return the scores of all classes, without topk or sort"
        )


def _with_scores(model: "Model", rows: Matrix) -> "Model":
    """Add the option "scores" where rows are probabilities, and its origin.

    Raises:
        ModelError: the option says probabilities, and there are other values.
    """
    given = model.task_options.get("scores")
    if given == "probabilities" and (rows.min() < -_SUM_TOLERANCE or rows.max() > 1 + _SUM_TOLERANCE):
        raise ModelError(
            f"{model.reference}: --scores probabilities: outputs are from {rows.min():.3g} to {rows.max():.3g}, not "
            "from 0 to 1; leave the option out for logits, or use --scores sigmoid for logits of several labels"
        )
    if given is not None:
        return replace(model, origins={**model.origins, "scores": OPTION})
    origins = {**model.origins, "scores": f"seen on {len(rows)} pictures"}
    if not _are_probabilities(rows):
        return replace(model, origins=origins)
    return replace(model, task_options={**model.task_options, "scores": "probabilities"}, origins=origins)


def _are_probabilities(rows: Matrix) -> bool:
    return bool((rows >= 0).all() and (np.abs(rows.sum(axis=1) - 1) <= _SUM_TOLERANCE).all())


def _warnings(model: "Model", rows: Matrix) -> Iterator[str]:
    scores = model.task_options.get("scores", "logits")
    if scores != "probabilities" and _are_probabilities(rows):
        yield f"the outputs of every picture are not negative and sum to 1: --scores {scores} takes them for logits"
    elif scores == "logits" and rows.min() >= 0 and 0 < rows.max() <= 1:
        yield (
            "all outputs are from 0 to 1: if the model ends in a sigmoid, add --scores probabilities; softmax is taken "
            "of them otherwise"
        )
    best = set(rows.argmax(axis=1).tolist())
    if len(rows) > 1 and len(best) == 1 and rows.shape[1] > 1:
        yield (
            f"all {len(rows)} pictures get class {best.pop()}: unless they show the same, check --mean, --std and the "
            "model's outputs"
        )
