"""Logits to predictions: order, ties, scores, parameters, and what is refused."""

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from shardline.tasks.classify import reply as reply_to
from shardline.tasks.registry import task_code, task_reply
from shardline.tasks.request import Request
from shardline.wire.errors import BundleError, RequestError, ShardlineError

ANIMALS = ("cat", "dog", "owl")


def reply(outputs: dict[str, np.ndarray], labels: tuple[str, ...], parameters: dict[str, Any]) -> list[Any]:
    return reply_to(Request(outputs=outputs, labels=labels, parameters=parameters))


def logits(*rows: list[float], dtype: str = "f4") -> dict[str, np.ndarray]:
    return {"logits": np.array(rows, dtype)}


def names(prediction: dict[str, Any]) -> list[str]:
    return [entry["label"] for entry in prediction["top"]]


def test_one_prediction_an_instance() -> None:
    predictions = reply(logits([0, math.log(3), 0], [9, 0, 0]), ANIMALS, {})

    assert [prediction["label"] for prediction in predictions] == ["dog", "cat"]
    assert predictions[0]["index"] == 1
    assert predictions[0]["score"] == pytest.approx(0.6)
    assert predictions[0]["top"][0] == {key: predictions[0][key] for key in ("label", "index", "score")}
    assert names(predictions[0]) == ["dog", "cat", "owl"]


def test_plain_json() -> None:
    predictions = reply(logits([0.5, 0.25, 0.125], dtype="f2"), ANIMALS, {})

    assert json.loads(json.dumps(predictions, allow_nan=False)) == predictions


def test_ties_go_to_the_lower_index() -> None:
    assert names(reply(logits([1, 2, 2]), ANIMALS, {})[0]) == ["dog", "owl", "cat"]
    assert names(reply(logits([0, 0, 0]), ANIMALS, {})[0]) == ["cat", "dog", "owl"]


def test_order_where_scores_vanish() -> None:
    """Two scores are 0; the logits still tell them apart."""
    prediction = reply(logits([-5000, 0, -4000]), ANIMALS, {})[0]

    assert names(prediction) == ["dog", "owl", "cat"]
    assert [entry["score"] for entry in prediction["top"]] == [1, 0, 0]


@pytest.mark.parametrize(("parameters", "count"), [({}, 5), ({"top": 1}, 1), ({"top": 7}, 7), ({"top": 10**9}, 8)])
def test_top(parameters: dict[str, object], count: int) -> None:
    assert len(reply(logits([0.0] * 8), ANIMALS, parameters)[0]["top"]) == count


@pytest.mark.parametrize("top", [0, -1, True, 1.0, "3", None, [1]])
def test_bad_top(top: object) -> None:
    with pytest.raises(RequestError, match="allowed: a whole number from 1"):
        reply(logits([0, 1, 2]), ANIMALS, {"top": top})


def test_unknown_parameters() -> None:
    with pytest.raises(RequestError, match="unknown parameters k, treshold; allowed: timings, top"):
        reply(logits([0, 1, 2]), ANIMALS, {"treshold": 0.5, "k": 3, "top": 1})


def test_labels_fall_back() -> None:
    assert names(reply(logits([0, 1, 2, 3]), ANIMALS, {})[0]) == ["class 3", "owl", "dog", "cat"]
    assert reply(logits([0, 1]), (), {})[0]["label"] == "class 1"


def test_first_output_that_can_be_logits() -> None:
    outputs: dict[str, np.ndarray] = {
        "features": np.zeros((1, 3, 2, 2), np.float32),
        "indexes": np.zeros((1, 3), np.int64),
        "logits": np.array([[0, 1, 0]], np.float32),
        "auxiliary": np.array([[1, 0, 0]], np.float32),
    }

    assert reply(outputs, ANIMALS, {})[0]["label"] == "dog"


@pytest.mark.parametrize(
    "outputs",
    [{}, {"x": np.zeros(3, np.float32)}, {"x": np.zeros((2, 0), np.float32)}, {"x": np.zeros((1, 3), np.int32)}],
)
def test_no_logits(outputs: dict[str, np.ndarray]) -> None:
    with pytest.raises(BundleError, match="classify needs float"):
        reply(outputs, ANIMALS, {})


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_never_nan(value: float) -> None:
    with pytest.raises(ShardlineError, match="NaN or infinity for instance 1"):
        reply(logits([0, 1, 2], [0, value, 2]), ANIMALS, {})


def test_no_instances() -> None:
    assert reply({"logits": np.zeros((0, 3), np.float32)}, ANIMALS, {}) == []


@settings(deadline=None)
@given(
    hnp.arrays(
        st.sampled_from(["<f2", "<f4", "<f8"]),
        hnp.array_shapes(min_dims=2, max_dims=2, max_side=6),
        elements={"allow_nan": False, "allow_infinity": False},
    )
)
def test_scores_are_probabilities(array: np.ndarray) -> None:
    for prediction, row in zip(reply({"x": array}, ANIMALS, {"top": 6}), array, strict=True):
        scores = [entry["score"] for entry in prediction["top"]]
        assert sum(scores) == pytest.approx(1)
        assert scores == sorted(scores, reverse=True)
        assert prediction["index"] == int(np.argmax(row))


def test_registry() -> None:
    assert task_reply("classify") is reply_to
    with pytest.raises(BundleError, match=r"'weather'; allowed: classify, .*: build it again"):
        task_reply("weather")


def test_the_answer_is_the_top_class() -> None:
    code = task_code("classify")

    assert code.answers(logits([0, 2, 1], [5, 2, 1]), {}) == [1, 0]
    assert code.answers({"features": np.zeros((1, 3, 2, 2), np.float32)}, {}) is None


# what the outputs mean


def reply_as(scores: str, outputs: dict[str, np.ndarray]) -> list[Any]:
    return reply_to(Request(outputs=outputs, labels=ANIMALS, options={"scores": scores}))


def test_probabilities_are_the_scores() -> None:
    assert reply_as("probabilities", logits([0.25, 0.5, 0.25]))[0]["score"] == 0.5


def test_each_label_of_several_has_a_score_of_its_own() -> None:
    prediction = reply_as("sigmoid", logits([0, math.log(3), -800]))[0]

    assert [entry["score"] for entry in prediction["top"]] == pytest.approx([0.75, 0.5, 0])
    assert names(prediction) == ["dog", "cat", "owl"]


@pytest.mark.parametrize("options", [{"scores": "softmax"}, {"score": "logits"}, {"scores": True}])
def test_options_that_classify_does_not_have(options: dict[str, Any]) -> None:
    with pytest.raises(BundleError, match="allowed is scores, one of logits, probabilities, sigmoid"):
        task_code("classify").check_options(options)
    task_code("classify").check_options({})
