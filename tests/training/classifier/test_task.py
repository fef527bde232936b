"""The classifier's task: which optimiser trains what, class weights, and that it learns."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from services.drawn_shapes import draw_shapes

from shardline.partition.models import Model
from shardline.predictors.picture import open_picture, to_pixels
from shardline.storage.bundle import PictureSpec
from shardline.training.classifier.augmentation import ClassifierBatch
from shardline.training.classifier.task import (
    ClassifierRecipe,
    ClassifierTrainingTask,
    ValidationBatch,
    classification_scores,
)
from shardline.training.classifier.train import initial_model
from shardline.training.fit import TrainingRun, fit
from shardline.training.folder import TEST, read_split
from shardline.training.optim import TrainingSettings
from shardline.wire.errors import UsageError
from shardline.wire.limits import Limits

CPU = torch.device("cpu")
SPEC = PictureSpec(height=24, width=24, fit="stretch")
RECIPE = ClassifierRecipe(epochs=12, batch=8, held_out=0.1, mix=0.2, crop=0.6)


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_shapes(tmp_path_factory.mktemp("shapes") / "data", train=20, test=8)


@pytest.fixture(scope="module")
def model() -> Model:
    reference = "shardline.training.classifier.model:SmallResNet?num_classes=3&widths=(8,16)&blocks=(1,1)"
    return replace(initial_model(reference, 0, 24), picture=SPEC)


def shown(folder: Path) -> ValidationBatch:
    pictures = read_split(folder, TEST)
    pixels = np.stack([to_pixels(file.read_bytes(), SPEC, Limits()) for file in pictures.files])
    return ValidationBatch(pixels=pixels, classes=pictures.classes)


def course(folder: Path, model: Model, *, muon: bool = True, **changes: Any) -> ClassifierTrainingTask:
    opened = partial(open_picture, spec=SPEC, limits=Limits())
    return ClassifierTrainingTask(replace(RECIPE, **changes), model, folder, opened, [shown(folder)], muon=muon)


def test_it_learns(shapes: Path, model: Model, tmp_path: Path) -> None:
    settings = TrainingSettings(rate=4e-3, muon=10, warm_up=5, score_every=1000)

    outcome = fit(course(shapes, model), settings, TrainingRun(folder=tmp_path, device=CPU, workers=0), resume=False)

    assert outcome.scores["score"] >= 0.9
    assert outcome.scores["score"] == pytest.approx(outcome.scores["recall"])
    assert classification_scores(outcome.model, model, [shown(shapes)], CPU) == outcome.scores


def test_muon_takes_what_lies_between_features(shapes: Path, model: Model) -> None:
    module = course(shapes, model).model()
    taken = course(shapes, model).matrices(module)
    first = next(module.parameters())

    assert len(taken) == 5  # two convolutions in each of two blocks, and one in the short cut of the second
    assert all(item.dim() == 4 for item in taken)
    assert not any(item is first for item in taken)
    assert course(shapes, model, muon=False).matrices(module) == []


def test_a_course_s_model_is_always_the_same(shapes: Path, model: Model) -> None:
    given = course(shapes, model)
    with torch.no_grad():
        next(given.model().parameters()).zero_()

    assert next(given.model().parameters()).abs().sum() > 0


@pytest.mark.parametrize("balance", [0.0, 0.5, 1.0])
def test_a_rare_class_counts_as_much_as_is_asked_for(balance: float, model: Model, tmp_path: Path) -> None:
    folder = draw_shapes(tmp_path / "data", train=20, test=2)
    for file in sorted((folder / "train" / "disc").glob("*"))[5:]:
        file.unlink()
    given = course(folder, model, balance=balance, held_out=0.2, smoothing=0.0)
    module = given.model().eval()

    @torch.no_grad()
    def loss(which: int) -> float:
        pixels = np.zeros((2, 24, 24, 3), np.uint8)
        classes = np.full(2, which)
        batch = ClassifierBatch(pixels=pixels, classes=classes, others=classes, share=1.0)
        logits = module((torch.zeros(1, 3, 24, 24) - torch.tensor(model.mean).view(1, 3, 1, 1))
                        / torch.tensor(model.std).view(1, 3, 1, 1))  # fmt: skip
        plain = torch.nn.functional.cross_entropy(logits, torch.tensor([which]))
        return float(given.losses(module, batch, CPU)["classes"] / plain)

    assert loss(2) / loss(0) == pytest.approx((16 / 4) ** balance, rel=1e-4)
    assert 16 * loss(0) + 16 * loss(1) + 4 * loss(2) == pytest.approx(36, rel=1e-4)


def test_a_mixed_picture_is_of_both_classes(shapes: Path, model: Model) -> None:
    given = course(shapes, model)
    module = given.model().eval()
    batch = given.draw(0)
    whole = replace(batch, share=1.0)
    other = replace(whole, classes=np.roll(batch.classes, 1))
    mixed = replace(batch, others=other.classes, share=0.25)
    losses = [float(given.losses(module, value, CPU)["classes"].detach()) for value in (whole, other, mixed)]

    assert losses[2] == pytest.approx(0.25 * losses[0] + 0.75 * losses[1], rel=1e-5)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"epochs": 0}, "--epochs 0 of --batch 8"),
        ({"crop": 0.0}, "--crop 0 --turn 10: allowed are more than 0"),
        ({"mix": 1.5}, "--mix 1.5: allowed are shares"),
    ],
)
def test_a_recipe_that_makes_no_training_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        replace(RECIPE, **changes)
