"""Comparison of outputs, and the tolerance that a bundle states."""

import numpy as np
import pytest
import torch

from shardline.partition.build import stated_tolerance
from shardline.partition.compare import (
    Agreement,
    largest_value,
    max_abs_difference,
    norm_error,
    relative_error,
    tensor_difference,
    unequal,
)
from shardline.storage.bundle import Tolerance
from shardline.tasks.registry import task_code
from shardline.wire.frame import named_dtype

NAN, INF = float("nan"), float("inf")


class TestAgreement:
    def test_adds_up(self) -> None:
        agreement = Agreement(task_code("classify"), {})
        agreement.add({"y": np.array([[1.0, 2.0]])}, {"y": np.array([[1.0, 2.02]])})
        agreement.add({"y": np.array([[3.0, 2.0]])}, {"y": np.array([[2.0, 4.0]])})
        agreement.add({"y": np.array([[9.0, 2.0]])}, {"y": np.array([[9.0, 9.5]])}, picture=False)

        assert agreement.max_relative_error == pytest.approx(7.5 / 9.5)
        assert (agreement.top1, agreement.classes) == (0.5, 2)

    def test_a_tolerance_has_a_margin(self) -> None:
        agreement = Agreement(task_code("classify"), {})
        agreement.add({"y": np.array([[1.0, 2.0]])}, {"y": np.array([[1.0, 2.02]])})

        assert stated_tolerance(agreement) == Tolerance(max_relative_error=0.02, top1_agreement=0.9)
        assert agreement.within(stated_tolerance(agreement))

    def test_next_to_nothing_must_agree_in_every_class(self) -> None:
        agreement = Agreement(task_code("classify"), {})
        agreement.add({"y": np.array([[1.0, 2.0]])}, {"y": np.array([[1.0, 2.0 + 1e-7]])})

        assert stated_tolerance(agreement) == Tolerance(max_relative_error=1e-4, top1_agreement=1.0)

    @pytest.mark.parametrize(
        ("found", "expected", "error"),
        [
            ([1.0, -2.0], [1.0, -2.0], 0.0),
            ([1.0, -2.0], [1.0, -4.0], 0.5),
            ([0.0], [0.0], 0.0),
            ([0.5], [0.0], 0.5),
            ([np.nan], [np.nan], 0.0),
            ([np.nan], [1.0], np.inf),
            ([1.0, 2.0], [1.0], np.inf),
            ([], [], 0.0),
        ],
    )
    def test_relative_error(self, found: list[float], expected: list[float], error: float) -> None:
        assert relative_error(np.array(found), np.array(expected)) == error


@pytest.mark.parametrize(
    ("found", "expected", "difference"),
    [
        ([1.0, -2.0], [1.0, -2.0], 0.0),
        ([1.0, -2.0], [1.5, -2.0], 0.5),
        ([1.0, NAN], [1.0, NAN], 0.0),
        ([1.0, NAN], [1.0, 2.0], INF),
        ([1.0], [1.0, 2.0], INF),
        ([INF], [INF], 0.0),
        ([], [], 0.0),
    ],
)
def test_max_abs_difference(found: list[float], expected: list[float], difference: float) -> None:
    assert max_abs_difference(np.array(found), np.array(expected)) == difference


def test_arrays_of_different_dtypes_are_infinitely_different() -> None:
    assert max_abs_difference(np.zeros(2, np.float32), np.zeros(2, np.float64)) == INF


@pytest.mark.parametrize("dtype", ["BOOL", "U8", "I64", "F16", "BF16", "F64"])
def test_arrays_of_any_dtype_are_compared(dtype: str) -> None:
    zeros, ones = np.zeros(3, named_dtype(dtype)), np.ones(3, named_dtype(dtype))

    assert max_abs_difference(zeros, zeros) == 0
    assert max_abs_difference(ones, zeros) == 1
    assert (largest_value(zeros), largest_value(ones * ones)) == (1, 1)


@pytest.mark.parametrize(
    ("found", "expected", "difference"),
    [([1.0, 2.0], [1.0, 2.0], 0.0), ([1.0, 2.0], [1.0, 2.5], 0.5), ([1.0], [1.0, 2.0], INF), ([NAN], [NAN], INF)],
)
def test_tensor_difference(found: list[float], expected: list[float], difference: float) -> None:
    assert tensor_difference(torch.tensor(found), torch.tensor(expected)) == difference


def test_unequal_names_what_differs_by_a_bit() -> None:
    expected = {"same": np.array([0.0, NAN]), "zero": np.array([0.0])}
    found = {"same": np.array([0.0, NAN]), "zero": np.array([-0.0])}

    assert unequal(found, expected) == ["zero"]


# norms


def test_a_few_values_far_off_are_little_in_the_norm() -> None:
    expected = np.ones((1, 100, 100), np.float32)
    found = expected.copy()
    found[0, 0, 0] = 2.0

    assert norm_error(found, expected) == pytest.approx(0.01)
    assert relative_error(found, expected) == 1.0


@pytest.mark.parametrize(
    ("found", "expected", "error"),
    [
        ([1.0, NAN], [1.0, NAN], 0.0),
        ([1.0, -INF], [1.0, -INF], 0.0),
        ([1.0, INF], [1.0, -INF], INF),
        ([1.0, 5.0], [1.0, NAN], INF),
        ([NAN, 1.0], [1.0, 1.0], INF),
        ([0.0, 0.5], [0.0, 0.0], 0.5),
        ([1.0], [1.0, 1.0], INF),
        ([], [], 0.0),
    ],
)
def test_norm_errors_of_special_values(found: list[float], expected: list[float], error: float) -> None:
    assert norm_error(np.array(found), np.array(expected)) == error


def test_another_dtype_is_infinitely_far_off() -> None:
    assert norm_error(np.ones(2, np.float32), np.ones(2, np.float64)) == INF
