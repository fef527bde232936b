"""Outputs of a model, checked on pictures: probabilities are recognised, and what no task can read is refused."""

from dataclasses import replace

import numpy as np
import pytest

from shardline.partition.models import Model, load_model
from shardline.partition.outputs import check_outputs
from shardline.wire.errors import ModelError
from shardline.wire.typed import Scalar

PICTURES = (
    np.random.default_rng(0).integers(0, 256, (12, 3, 32, 32), np.uint8) * np.linspace(0.1, 1, 12)[:, None, None, None]
)


def checked(name: str, task: str = "classify", **options: Scalar) -> tuple[Model, list[str]]:
    model = replace(load_model(f"services.output_models:{name}", size=32), task=task, task_options=options)
    lines: list[str] = []
    return check_outputs(model, PICTURES.astype(np.uint8), lines.append), lines


def test_logits_stay_as_they_are() -> None:
    model, lines = checked("logits")

    assert model.task_options == {}
    assert model.origins["scores"] == "seen on 6 pictures"
    assert lines == []


def test_probabilities_are_recognised() -> None:
    model, _ = checked("probabilities")

    assert model.task_options == {"scores": "probabilities"}


def test_an_option_is_kept_and_a_doubtful_one_warned_of() -> None:
    model, lines = checked("probabilities", scores="logits")

    assert model.task_options == {"scores": "logits"}
    assert model.origins["scores"] == "an option"
    assert "sum to 1: --scores logits takes them for logits" in lines[0]


def test_sigmoids_are_warned_of_and_taken_by_the_option() -> None:
    _, lines = checked("sigmoids")

    assert "add --scores probabilities" in lines[0]
    assert checked("sigmoids", scores="probabilities")[0].task_options == {"scores": "probabilities"}


def test_the_same_class_for_all_pictures_is_warned_of() -> None:
    _, lines = checked("constant")

    assert lines == [
        "warning: all 6 pictures get class 9: unless they show the same, check --mean, --std and the model's outputs"
    ]


@pytest.mark.parametrize(
    ("name", "task", "message"),
    [
        ("top_three", "classify", "the 3 scores of every picture are sorted, .* without topk or sort"),
        ("sorted_values", "classify", "the 10 scores of every picture are sorted"),
        ("regressor", "classify", "one class is no classification, .* use --task raw"),
        ("flat", "classify", r"outputs are float32\[batch\]; classify needs float \[batch, classes\]: use --task raw"),
        ("not_a_number", "classify", "NaN or infinity for 6 of 6 pictures"),
        ("fewer_rows", "classify", "for 6 pictures the output has 5 rows"),
        ("pixels", "classify", r"float32\[batch, 10, 32, 32\]; .* for scores of each pixel use --task segment"),
        ("pixels", "retrieve", r"retrieve needs float \[batch, width\]: .* --embed"),
        ("failing", "classify", "does not run on 6 pictures of 32x32: it raised RuntimeError at .*: shape"),
    ],
)
def test_outputs_that_the_task_cannot_read_are_refused(name: str, task: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        checked(name, task)


def test_logits_are_no_probabilities_by_option() -> None:
    with pytest.raises(ModelError, match=r"--scores probabilities: outputs are from -.*, not from 0 to 1"):
        checked("logits", scores="probabilities")


def test_the_logit_of_one_label_is_taken_by_the_option() -> None:
    assert checked("regressor", scores="sigmoid")[0].task_options == {"scores": "sigmoid"}


def test_random_weights_are_reported() -> None:
    model = replace(load_model("services.output_models:logits", size=32), random=True)
    lines: list[str] = []
    check_outputs(model, PICTURES.astype(np.uint8), lines.append)

    assert lines == ["the weights are random: labels and scores mean nothing"]
