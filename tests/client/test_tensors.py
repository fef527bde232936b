"""Raw outputs as a table."""

from typing import Any

import pytest

from shardline.client.tensors import read_tensors, tensor_lines
from shardline.client.terminal import TerminalStyle

AGE = {"shape": [1], "dtype": "float32", "data": [31.25]}


def test_tensors_are_a_compact_table() -> None:
    long = {"shape": [2, 4], "dtype": "float32", "data": [0.1, None, 2, 3, 4, 5, 6, 7e9]}
    tensors = read_tensors({"outputs": {"age": AGE, "embedding": long}})

    assert tensors is not None
    assert tensor_lines(tensors, TerminalStyle()) == [
        "  age        float32 [1]     31.25",
        "  embedding  float32 [2, 4]  0.1  -  2  3  4  5  …  (0.1 to 7e+09)",
    ]
    assert tensor_lines((), TerminalStyle()) == ["  no output"]


@pytest.mark.parametrize(
    "prediction",
    [
        None,
        {"outputs": [1]},
        {"outputs": {"a": 1}},
        {"outputs": {"a": AGE | {"shape": [2]}}},
        {"outputs": {"a": AGE | {"shape": None}}},
        {"outputs": {"a": AGE | {"data": ["x"]}}},
    ],
)
def test_other_replies_are_no_tensors(prediction: Any) -> None:
    assert read_tensors(prediction) is None
