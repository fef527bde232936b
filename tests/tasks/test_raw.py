"""Named tensors as JSON numbers: shapes, dtypes, selection, limits, and what JSON cannot express."""

import json
import math
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from shardline.tasks.raw import NUMBERS, reply
from shardline.tasks.registry import task_code
from shardline.tasks.request import Request
from shardline.wire.errors import BundleError, RequestError, ShardlineError, TooLargeError
from shardline.wire.limits import REQUEST_BYTES


def answer(arrays: dict[str, np.ndarray], **parameters: Any) -> list[Any]:
    predictions = reply(Request(outputs=arrays, parameters=parameters))
    assert json.loads(json.dumps(predictions, allow_nan=False)) == predictions
    return predictions


@pytest.mark.parametrize(("shape", "of_one"), [((2,), []), ((2, 1), [1])])
def test_a_regressor(shape: tuple[int, ...], of_one: list[int]) -> None:
    age = np.array([31.5, 42.25], np.float32).reshape(shape)

    assert answer({"age": age}) == [
        {"outputs": {"age": {"shape": of_one, "dtype": "float32", "data": [value]}}} for value in (31.5, 42.25)
    ]


@pytest.mark.parametrize(
    "dtype", ["float16", "float32", "float64", ml_dtypes.bfloat16, "int8", "uint8", "int32", "int64", "bool"]
)
def test_every_dtype_reads_back_as_it_was(dtype: Any) -> None:
    array = (np.arange(12).reshape(2, 2, 3) / 3).astype(dtype)
    for instance, prediction in enumerate(answer({"x": array})):
        found = prediction["outputs"]["x"]
        assert found["shape"] == [2, 3]
        assert found["dtype"] == str(array.dtype)
        assert np.array_equal(np.array(found["data"]).astype(dtype).reshape(2, 3), array[instance])
        assert not any(isinstance(value, bool) for value in found["data"])


def test_large_integers_are_exact() -> None:
    [prediction] = answer({"id": np.array([[2**63 - 1, -(2**63)]])})

    assert prediction["outputs"]["id"]["data"] == [2**63 - 1, -(2**63)]


def test_outputs_by_name() -> None:
    outputs = {name: np.zeros((1, 2), np.float32) for name in ("logits", "features", "mean")}

    assert list(answer(outputs)[0]["outputs"]) == ["logits", "features", "mean"]
    assert list(answer(outputs, outputs=["mean", "logits"])[0]["outputs"]) == ["logits", "mean"]


@pytest.mark.parametrize("wanted", [None, "logits", [], ["loggits"], [0], [None], {"logits": 1}])
def test_names_of_no_output(wanted: object) -> None:
    with pytest.raises(RequestError, match=r"parameter outputs .* logits"):
        answer({"logits": np.zeros((1, 2), np.float32)}, outputs=wanted)


def test_unknown_parameters() -> None:
    with pytest.raises(RequestError, match="unknown parameters top; allowed: outputs, timings"):
        answer({"x": np.zeros((1, 2), np.float32)}, top=1)


def test_a_reply_is_bounded() -> None:
    outputs = {"map": np.zeros((2, NUMBERS // 2), np.float32), "more": np.zeros((2, 1), np.float32)}

    with pytest.raises(TooLargeError, match=r"200002 numbers \(map .*allowed are 200000.*parameter outputs"):
        answer(outputs)
    assert len(answer(outputs, outputs=["map"])) == 2


def test_the_most_numbers_fit_a_reply() -> None:
    widest = np.full((1, NUMBERS), -1.2345678901234567e-308)

    assert len(json.dumps(answer({"x": widest}))) <= REQUEST_BYTES


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("dtype", ["float16", "float32", ml_dtypes.bfloat16])
def test_never_nan(value: float, dtype: Any) -> None:
    outputs = {"fine": np.zeros((2, 1)), "angle": np.array([[0], [value]]).astype(dtype)}

    with pytest.raises(ShardlineError, match="NaN or infinity in angle for instance 1"):
        answer(outputs)


@pytest.mark.parametrize("shapes", [{}, {"x": ()}, {"x": (2, 3), "y": (4,)}, {"x": (2,), "y": ()}])
def test_outputs_without_the_batch(shapes: dict[str, tuple[int, ...]]) -> None:
    with pytest.raises(BundleError, match="raw needs the batch as the first dimension"):
        answer({name: np.zeros(shape) for name, shape in shapes.items()})


def test_models_are_compared_by_their_floats() -> None:
    code = task_code("raw")
    outputs: dict[str, np.ndarray] = {"score": np.zeros((1, 3), np.float32), "best": np.zeros(1, np.int64)}

    assert code.answers(outputs, {}) is None
    assert list(code.comparable(outputs, {})) == ["score"]
    assert list(code.comparable({"best": outputs["best"]}, {})) == ["best"]
