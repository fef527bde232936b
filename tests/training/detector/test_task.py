"""Training tasks of the detector: batches, fonts, recipes, and that a few pictures are learnt by heart."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from shardline.training.detector.layers import fold_normalisation
from shardline.training.detector.model import PlateDetector
from shardline.training.detector.objects import Column
from shardline.training.detector.samples import BATCH, DetectorSample, DetectorSamples
from shardline.training.detector.scores import DetectorScores, object_boxes
from shardline.training.detector.task import DetectorRecipe, DetectorTrainingTask, normalise
from shardline.training.plates.fonts import families
from shardline.training.samples import sample_files
from shardline.wire.errors import UsageError

CPU = torch.device("cpu")


def test_only_fonts_to_train_with_are_drawn() -> None:
    course = DetectorTrainingTask(DetectorRecipe(pictures=80), sample_files())
    pictures = getattr(course.draw, "__self__", None)

    assert isinstance(pictures, DetectorSamples)
    assert pictures.fonts == families("train")
    assert not set(pictures.fonts) & set(families("held-out"))


def test_batches_come_as_the_recipe_says() -> None:
    course = DetectorTrainingTask(DetectorRecipe(pictures=100, side=128), sample_files())

    assert course.steps == 25
    assert [course.pictures(step) for step in (0, 1, 25)] == [0, 4, 100]
    assert [item.pixels.shape for item in course.draw(24)] == [(128, 128, 3)] * BATCH
    assert not np.array_equal(course.draw(0)[0].pixels, course.draw(1)[0].pixels)


@pytest.mark.parametrize("wrong", [{"side": 250}, {"side": 64}, {"pictures": 3}])
def test_what_cannot_be_trained_is_refused_in_words(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="allowed are"):
        DetectorRecipe(**wrong)


def with_exact_crops(sample: DetectorSample) -> DetectorSample:
    """The reader is shown the characters in their own boxes: shaken once, it would know those boxes alone by heart."""
    told = sample.objects[(sample.objects[:, Column.KIND] == 2) & (sample.objects[:, Column.KNOWN] > 0)]
    return replace(sample, character_crops=np.concatenate((object_boxes(told), told[:, [Column.CLASS]]), axis=1))


@pytest.mark.slow
def test_it_learns_a_few_pictures_by_heart() -> None:
    course = DetectorTrainingTask(DetectorRecipe(pictures=80, side=128), sample_files())
    samples = [with_exact_crops(sample) for sample in course.draw(0)[:2]]
    model = course.model().train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=2e-3)
    for _ in range(60):
        optimiser.zero_grad()
        torch.autograd.backward(torch.stack(list(course.losses(model, samples, CPU).values())).sum())
        torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimiser.step()
    measure = DetectorScores()
    with torch.no_grad():
        outputs = fold_normalisation(model, PlateDetector())(normalise([item.pixels for item in samples], CPU))
    measure.add([output.numpy() for output in outputs], samples)

    assert measure.scores() == {"score": 1.0, "found": 1.0, "false": 0.0}
