"""Plots and tables of a report on a classifier."""

from pathlib import Path

import numpy as np
import pytest
from services.knowing_classifier import GivenPictures, GivenScores

from shardline.training.evaluation.classifier.evaluate import evaluate
from shardline.training.evaluation.classifier.report import classifier_plots
from shardline.training.evaluation.plots import save_plots

ANIMALS = ("ant", "bee", "cat", "dog", "eel", "fly")


@pytest.mark.parametrize("classes", [2, 80])
def test_few_classes_and_many_are_drawn(classes: int, tmp_path: Path) -> None:
    labels = tuple(f"class {place}" for place in range(classes))
    samples = GivenPictures(labels=labels, shown=tuple(range(classes)))
    source = GivenScores(lambda number: np.eye(classes)[number // 2].tolist(), labels=labels)
    report, mistakes = evaluate(samples, [source])
    drawn = classifier_plots(report, mistakes)

    assert {path.name for path in save_plots(drawn, tmp_path)} == {
        "calibration.png", "classes.png", "confusion.png", "curves.png", "mistakes.png",
    }  # fmt: skip
    assert all(each.alt.endswith(".") for each in drawn)
