"""Training of a classifier on a folder of pictures: from pictures to weights and the JSON that describes them.

This is what `shardline train classifier` does. The first weights are random, or those of a model that was trained on
other classes.
"""

from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from shardline.partition.guard import users_code
from shardline.partition.models import Model, load_model
from shardline.partition.state import read_state
from shardline.predictors.picture import open_picture, to_pixels
from shardline.storage.bundle import PictureSpec
from shardline.training.classifier.description import OWN, description
from shardline.training.classifier.task import (
    ClassifierRecipe,
    ClassifierTrainingTask,
    ValidationBatch,
    classification_scores,
    in_half_precision,
)
from shardline.training.folder import (
    DIGITS,
    TEST,
    LabelledSplit,
    check_pictures,
    has_split,
    read_split,
    training_and_validation,
    write_digits,
)
from shardline.training.optim import TrainingSettings
from shardline.training.run import TrainingOptions, run_training, training_record
from shardline.training.weights import write_weights
from shardline.wire.errors import DatasetError, ModelError, PictureError, UsageError
from shardline.wire.limits import Limits

NAME = "classifier"
_SMALL = "small"
_VALIDATED = 2000  # most pictures that validation scores are taken from
_BATCH = 64  # pictures in a batch of validation
_EVALUATIONS = 20  # in all
_MUON = 10.0  # learning rate of Muon, as a multiple of AdamW's
_DIGEST = "pictures_sha256"  # key of the recipe: which pictures they were


def with_defaults(options: Mapping[str, Any]) -> dict[str, Any]:
    """The recipe: the options with their defaults, which depend on each other.

    Raises:
        UsageError: no data are given.
    """
    if options["data"] is None:
        raise UsageError(f"--data is missing: name a folder with train/CLASS/*.jpg or CLASS/*.jpg, or {DIGITS}")
    digits, small = options["data"] == DIGITS, options["model"] == _SMALL
    defaults = {
        "size": (32 if digits else 96) if small or digits else None,
        "fit": "stretch" if small or digits else None,
        "epochs": 30 if digits else 130,
        "crop": 0.7 if digits else 0.3,
        "flip": not digits,
        "turn": 10.0 if digits else 15.0,
        "jitter": 0.3 if digits else 0.5,
        "mix": 0.5 if digits else 0.75,
        "rate": 3e-4 if options["weights"] else 4e-3,
    }
    return {**options, **{name: value for name, value in defaults.items() if options[name] is None}}


def train_classifier(recipe: Mapping[str, Any], options: TrainingOptions) -> Path:
    """Train; return the path of the JSON that describes the weights.

    Raises:
        UsageError, DatasetError, ModelError: an option, the pictures or the model.
        TrainingStopped, TrainingError: as `fit`.
    """
    recipe = dict(recipe) if options.resume else with_defaults(recipe)
    chosen = ClassifierRecipe(**{field.name: recipe[field.name] for field in fields(ClassifierRecipe)})
    data = write_digits(options.folder / DIGITS) if recipe["data"] == DIGITS else Path(recipe["data"])
    training, validation = training_and_validation(data, chosen.held_out, chosen.seed)
    recipe = _for_these_pictures(recipe, training.digest() + validation.digest(), data)
    model = _first_model(recipe, len(training.labels), options)
    tested = read_split(data, TEST, training.labels) if has_split(data, TEST) else None
    files = (*training.files, *validation.files, *(tested.files if tested else ()))
    options.report(f"looking through {len(files)} pictures")
    check_pictures(files, model.picture, Limits())
    task = ClassifierTrainingTask(
        chosen,
        model,
        data,
        partial(open_picture, spec=model.picture, limits=Limits()),
        list(_validation_batches(_spread_sample(validation), model.picture)),
        muon=recipe["weights"] is None,
    )
    settings = TrainingSettings(
        rate=recipe["rate"],
        muon=_MUON,
        warm_up=max(1, task.steps // 20),
        score_every=max(1, task.steps // _EVALUATIONS),
        patience=recipe["patience"],
    )
    seed_everything(chosen.seed)
    result, device = run_training(task, settings, recipe, options)
    kept = {name: value for name, value in recipe.items() if name != _DIGEST}
    record = training_record(NAME, kept, result, options.folder, device) | description(model, training.labels)
    if tested is not None:
        batches = _validation_batches(tested, model.picture)
        scores = classification_scores(in_half_precision(result.model), model, batches, device)
        options.report(f"{TEST}: top-1 {scores['score']:.4f} of {len(tested.files)} pictures")
        record |= {TEST: {"pictures": len(tested.files), **scores}}
    return write_weights(options.folder, NAME, result.model, record).with_suffix(".json")


def initial_model(reference: str, seed: int, size: int | None) -> Model:
    """The model with random weights, the same ones for the same seed.

    Raises:
        ModelError: as `load_model`, or the model does not take pictures of this size.
    """
    model = load_model(reference, f"random:{seed}", size)
    pixels = torch.zeros(1, 3, model.picture.height, model.picture.width)
    remedy = ": give --size, or name what it is built for, as in --model 'vit_b_16?image_size=96' --size 96"
    what = f"{reference} does not take pictures of {model.picture.height} pixels a side: it"
    with users_code(what, remedy), torch.no_grad():
        model.module(pixels)
    return model


def seed_everything(seed: int) -> None:
    """Seed torch's generator, which dropout draws from; checkpoints keep its state."""
    torch.manual_seed(seed)


def read_weights(reference: str, weights: str) -> dict[str, torch.Tensor]:
    """The state dict, tensors of any shape by name, of a file, or of torchvision's weights of that name for the model.

    Raises:
        ModelError: as `load_model`, which downloads torchvision's weights.
    """
    if Path(weights).suffix:
        return read_state(Path(weights))
    return load_model(reference, weights).module.state_dict()


def load_matching_weights(module: nn.Module, state: dict[str, torch.Tensor], source: str) -> list[str]:
    """Load the tensors of `state` (any shape, by name) that have the shape of the module's own.

    The last layer's differ where it was trained on other classes. Tensors that only `state` has are ignored: they
    belong to heads that are used in training alone.

    Returns:
        The names of the tensors that keep the values they had.

    Raises:
        ModelError: a tensor is missing in `state`, or less than half of them fit: it is of another model.
    """
    own = module.state_dict()
    missing = sorted(own.keys() - state.keys())
    fitting = {name: state[name] for name, value in own.items() if name in state and state[name].shape == value.shape}
    if missing or 2 * len(fitting) < len(own):
        raise ModelError(
            f"--weights {source} is of another model: it lacks {', '.join(missing[:3]) or 'none'}, and "
            f"{len(fitting)} of {len(own)} tensors have the same shape"
        )
    module.load_state_dict(own | fitting)
    return sorted(own.keys() - fitting.keys())


def _for_these_pictures(recipe: dict[str, Any], digest: str, data: Path) -> dict[str, Any]:
    """The recipe with the digest of the pictures, so that a resumed training cannot take others."""
    if recipe.get(_DIGEST, digest) != digest:
        raise DatasetError(f"{data} holds other pictures than when the training began: put them back, or train again")
    return recipe | {_DIGEST: digest}


def _first_model(recipe: Mapping[str, Any], classes: int, options: TrainingOptions) -> Model:
    """The model that the training begins with; a resumed training replaces its weights by the checkpoint's."""
    name, weights = recipe["model"], recipe["weights"]
    reference = OWN if name == _SMALL else f"torchvision:{name}"
    with_classes = f"{reference}{'&' if '?' in name else '?'}num_classes={classes}"
    model = initial_model(with_classes, recipe["seed"], recipe["size"])
    if recipe["fit"] is not None:
        model = replace(model, picture=_fitted(model.picture, recipe["fit"]))
    if weights is not None and not options.resume:
        fresh = load_matching_weights(model.module, read_weights(reference, weights), weights)
        options.report(f"beginning with the weights {weights}; random are {', '.join(fresh) or 'none'}")
    return model


def _fitted(spec: PictureSpec, fit: str) -> PictureSpec:
    """The same size; cropped, a seventh of the shorter side is left out, as torchvision's presets do."""
    return replace(spec, fit=fit, resize=spec.resize or round(spec.height * 8 / 7) if fit == "crop" else None)


def _spread_sample(pictures: LabelledSplit) -> LabelledSplit:
    """At most so many pictures, spread evenly over the list."""
    indexes = np.linspace(0, len(pictures.files) - 1, min(_VALIDATED, len(pictures.files))).round().astype(int)
    return pictures.subset(indexes.tolist())


def _validation_batches(pictures: LabelledSplit, spec: PictureSpec) -> Iterator[ValidationBatch]:
    """The pictures as a server decodes them, in batches."""
    for start in range(0, len(pictures.files), _BATCH):
        files = pictures.files[start : start + _BATCH]
        yield ValidationBatch(
            pixels=np.stack([_pixels(file, spec) for file in files]),
            classes=pictures.classes[start : start + _BATCH],
        )


def _pixels(file: Path, spec: PictureSpec) -> NDArray[np.uint8]:
    try:
        return to_pixels(file.read_bytes(), spec, Limits())
    except (OSError, PictureError) as exc:
        raise DatasetError(f"{file} cannot be opened ({exc}): remove or replace it") from exc
