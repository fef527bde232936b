"""From a folder of pictures to a classifier's weights and its JSON: what `shardline train classifier` does."""

from collections.abc import Iterator
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from shardline.console import err, say
from shardline.predictors.picture import open_picture, to_pixels
from shardline.training.classifier.digits import NAME as DIGITS
from shardline.training.classifier.digits import write_digits
from shardline.training.folder import TEST, Labelled, has_split, learnt_and_held_out, read_split
from shardline.training_run import Using, facts_of, run_course
from shardline.wire.errors import ModelError, PictureError
from shardline.wire.limits import Limits

if TYPE_CHECKING:
    from shardline.partition.models import Model
    from shardline.storage.bundle import PictureSpec
    from shardline.training.classifier.course import Shown
    from shardline.training.fit import Outcome, Run

NAME = "classifier"
_SMALL = "small"
_SCORED = 2000  # pictures at most that scores are taken from while it learns
_AT_ONCE = 64  # pictures in a batch that is only looked at
_SCORES = 20  # in all
_MUON = 10.0  # its rate over AdamW's
_PICTURES = "pictures_sha256"  # of the recipe: which pictures they were


def resolved(asked: dict[str, Any]) -> dict[str, Any]:
    """The options with their defaults, which depend on each other.

    Raises:
        ModelError: no data.
    """
    if asked["data"] is None:
        raise ModelError(f"--data is missing: name a folder with train/CLASS/*.jpg, or {DIGITS}")
    digits, small = asked["data"] == DIGITS, asked["model"] == _SMALL
    usual = {
        "size": (32 if digits else 96) if small or digits else None,
        "fit": "stretch" if small or digits else None,
        "epochs": 30 if digits else 130,
        "crop": 0.7 if digits else 0.3,
        "flip": not digits,
        "turn": 10.0 if digits else 15.0,
        "jitter": 0.3 if digits else 0.5,
        "mix": 0.5 if digits else 0.75,
        "rate": 3e-4 if asked["weights"] else 4e-3,
    }
    return asked | {name: value for name, value in usual.items() if asked[name] is None}


def train_classifier(folder: Path, recipe: dict[str, Any], using: Using, *, resume: bool) -> Path:
    """Train; -> the JSON that describes the weights.

    Raises:
        ModelError: an option, the pictures or the model; or as `shardline.training.fit.fit`.
    """
    say("loading torch")
    from shardline.training.classifier.begin import begin_lots
    from shardline.training.classifier.course import ClassifierCourse, Recipe
    from shardline.training.classifier.served import description
    from shardline.training.fit import Settings
    from shardline.training.weights import write_weights

    chosen = Recipe(**{each.name: recipe[each.name] for each in fields(Recipe)})
    data = write_digits(folder / DIGITS) if recipe["data"] == DIGITS else Path(recipe["data"])
    learnt, held = learnt_and_held_out(data, chosen.held_out, chosen.seed)
    recipe = _of_these_pictures(recipe, learnt.digest() + held.digest(), data)
    model = _first(recipe, len(learnt.labels), resume=resume)
    course = ClassifierCourse(
        chosen,
        model,
        data,
        partial(open_picture, spec=model.picture, limits=Limits()),
        list(_shown(_some(held), model.picture)),
        muon=recipe["weights"] is None,
    )
    settings = Settings(
        rate=recipe["rate"],
        muon=_MUON,
        warm_up=max(1, course.steps // 20),
        score_every=max(1, course.steps // _SCORES),
        patience=recipe["patience"],
    )
    begin_lots(chosen.seed)
    outcome, run = run_course(NAME, course, settings, folder, recipe, using, resume=resume)
    facts = facts_of(NAME, {name: value for name, value in recipe.items() if name != _PICTURES}, outcome, run)
    tested = _tested(outcome, run, model, data, learnt.labels)
    weights = write_weights(folder, NAME, outcome.model, facts | tested | description(model, learnt.labels))
    return weights.with_suffix(".json")


def _of_these_pictures(recipe: dict[str, Any], digest: str, data: Path) -> dict[str, Any]:
    """The recipe, which says from now on which pictures it is for."""
    if recipe.get(_PICTURES, digest) != digest:
        raise ModelError(f"{data} holds other pictures than when the training began: put them back, or train anew")
    return recipe | {_PICTURES: digest}


def _first(recipe: dict[str, Any], classes: int, *, resume: bool) -> "Model":
    """The model as the training begins with it; resumed, it gets the checkpoint's weights in any case."""
    from shardline.training.classifier.begin import begin_with, first_model, weights_of
    from shardline.training.classifier.served import OWN

    name = recipe["model"]
    named = OWN if name == _SMALL else f"torchvision:{name}"
    model = first_model(f"{named}{'&' if '?' in name else '?'}num_classes={classes}", recipe["seed"], recipe["size"])
    if recipe["fit"] is not None:
        model = replace(model, picture=_fitted(model.picture, recipe["fit"]))
    if recipe["weights"] is not None and not resume:
        fresh = begin_with(model.module, weights_of(named, recipe["weights"]), recipe["weights"])
        say(f"beginning with {recipe['weights']}, anew: {', '.join(fresh) or 'nothing'}")
    return model


def _fitted(spec: "PictureSpec", fit: str) -> "PictureSpec":
    """The same size; cropped, a seventh of the shorter side is left out, as torchvision's presets do."""
    return replace(spec, fit=fit, resize=spec.resize or round(spec.height * 8 / 7) if fit == "crop" else None)


def _some(pictures: Labelled) -> Labelled:
    """At most so many, from everywhere in the list."""
    places = np.linspace(0, len(pictures.files) - 1, min(_SCORED, len(pictures.files))).round().astype(int)
    return pictures.only(places.tolist())


def _shown(pictures: Labelled, spec: "PictureSpec") -> "Iterator[Shown]":
    """The pictures as they are when they are served, batch by batch."""
    from shardline.training.classifier.course import Shown

    for start in range(0, len(pictures.files), _AT_ONCE):
        files = pictures.files[start : start + _AT_ONCE]
        yield Shown(
            pixels=np.stack([_pixels(file, spec) for file in files]),
            classes=pictures.classes[start : start + _AT_ONCE],
        )


def _pixels(file: Path, spec: "PictureSpec") -> "np.ndarray":
    try:
        return to_pixels(file.read_bytes(), spec, Limits())
    except (OSError, PictureError) as exc:
        raise ModelError(f"{file} cannot be opened ({exc}): remove or replace it") from exc


def _tested(outcome: "Outcome", run: "Run", model: "Model", data: Path, labels: tuple[str, ...]) -> dict[str, Any]:
    """How good the weights are, rounded as they will be written, on the pictures for testing, if there are any."""
    from shardline.training.classifier.course import as_written, measured

    if not has_split(data, TEST):
        return {}
    pictures = read_split(data, TEST, labels)
    figures = measured(as_written(outcome.model), model, _shown(pictures, model.picture), run.device)
    err.print(f"{TEST}: top-1 {figures['score']:.4f} of {len(pictures.files)} pictures")
    return {TEST: {"pictures": len(pictures.files), **figures}}
