"""Compare outputs: to the bit, by the largest difference, or within a stated tolerance.

Everything in Shardline that asks whether two models give the same outputs asks here. Arrays are those of one stage or
model, by name. Comparisons within a tolerance are the task's: a detector's boxes are sorted by score, and rounding may
swap neighbours, so the task chooses the values to compare, and the answers that a user sees: the top class, or the
plates that are read.

The module needs numpy only.
"""

import math
from collections.abc import Hashable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

    from shardline.storage.bundle import Tolerance
    from shardline.tasks.registry import TaskCode
    from shardline.tasks.request import Options

Outputs = Mapping[str, NDArray[Any]]


class Agreement:
    """Sum of the comparisons of many batches, with the figures that a bundle's `Tolerance` bounds."""

    def __init__(self, task: "TaskCode", options: "Options") -> None:
        """Compare as `task` (see `shardline.tasks.registry.task_code`) does, given a bundle's options of the task."""
        self._task = task
        self._options = options
        self.max_relative_error = 0.0
        self.answers: list[tuple[Hashable, Hashable]] = []

    def add(self, found: Outputs, expected: Outputs, *, picture: bool = True) -> None:
        """Compare the outputs of one batch, any dtypes and shapes [batch, …].

        Args:
            picture: False for noise, which has no answer worth comparing.
        """
        compared = self._task.comparable(found, self._options)
        wanted = self._task.comparable(expected, self._options)
        errors = [relative_error(compared[name], value) for name, value in wanted.items()]
        self.max_relative_error = max(self.max_relative_error, *errors)
        if picture:
            found_answers = self._task.answers(found, self._options)
            expected_answers = self._task.answers(expected, self._options)
            if found_answers is not None and expected_answers is not None:
                self.answers += zip(found_answers, expected_answers, strict=True)

    @property
    def top1(self) -> float | None:
        """Share of the pictures with equal answers; None where the model gives no answers."""
        return sum(found == expected for found, expected in self.answers) / len(self.answers) if self.answers else None

    @property
    def classes(self) -> int | None:
        """Number of different answers; None where the model gives no answers."""
        return len({found for found, _ in self.answers}) if self.answers else None

    def within(self, tolerance: "Tolerance") -> bool:
        """True where neither the error nor the share of equal answers exceeds the tolerance."""
        top1 = 1.0 if self.top1 is None else self.top1
        return self.max_relative_error <= tolerance.max_relative_error and top1 >= tolerance.top1_agreement


def unequal(found: Outputs, expected: Outputs) -> list[str]:
    """Names of the arrays, of any dtype and shape [batch, …], that are not equal to the bit."""
    return [name for name, value in expected.items() if found[name].tobytes() != value.tobytes()]


def max_abs_difference(found: NDArray[Any], expected: NDArray[Any]) -> float:
    """Largest absolute difference of two arrays of any shape and dtype.

    It is infinite where shapes, dtypes or the positions of NaN differ, and 0 only where all values are equal.
    """
    if found.shape != expected.shape or found.dtype != expected.dtype:
        return math.inf
    if np.array_equal(found, expected, equal_nan=True):
        return 0.0
    difference = _differences(found.astype(np.float64), expected.astype(np.float64))
    return math.inf if np.isnan(difference).any() else float(difference.max())


def _differences(found: NDArray[np.float64], expected: NDArray[np.float64]) -> NDArray[np.float64]:
    """Absolute differences of two arrays of the same shape; equal infinities, as masks have them, differ by 0."""
    with np.errstate(invalid="ignore"):
        difference = np.abs(found - expected)
    return np.where(found == expected, 0.0, difference)


def tensor_difference(found: "torch.Tensor", expected: "torch.Tensor") -> float:
    """Same as `max_abs_difference` for two CPU tensors of any shape and dtype; a NaN is an infinite difference."""
    if found.shape != expected.shape or found.dtype != expected.dtype:
        return math.inf
    if found.equal(expected):
        return 0.0
    difference = float((found.double() - expected.double()).abs().max())
    return math.inf if math.isnan(difference) else difference


def norm_error(found: NDArray[Any], expected: NDArray[Any]) -> float:
    """Relative L2 error of two arrays of any shape: the norm of their difference, divided by that of the expected one.

    Of some hundred thousand rounded values a few are far off in any computation, and the norm says how far all are
    together. It is infinite where shapes, dtypes or the positions of NaN and infinity differ, and the norm of the
    difference alone where all finite expected values are 0.
    """
    if found.shape != expected.shape or found.dtype != expected.dtype:
        return math.inf
    found, expected = found.astype(np.float64), expected.astype(np.float64)
    finite = np.isfinite(expected)
    if not np.array_equal(found[~finite], expected[~finite], equal_nan=True) or not np.isfinite(found[finite]).all():
        return math.inf
    length = float(np.linalg.norm(expected[finite]))
    return float(np.linalg.norm(found[finite] - expected[finite])) / (length or 1.0)


def relative_error(found: NDArray[Any], expected: NDArray[Any]) -> float:
    """Largest absolute difference of two arrays of any shape, divided by the largest expected value.

    It is infinite where shapes or the positions of NaN differ.
    """
    if found.shape != expected.shape:
        return math.inf
    found, expected = found.astype(np.float64), expected.astype(np.float64)
    if not np.array_equal(np.isnan(found), np.isnan(expected)):
        return math.inf
    return float(np.nanmax(_differences(found, expected), initial=0.0)) / largest_value(expected)


def largest_value(expected: NDArray[Any]) -> float:
    """Largest absolute value of an array of any shape, ignoring NaN and infinity; 1 for an array of zeros."""
    values = np.abs(expected.astype(np.float64))
    return float(np.max(values, initial=0.0, where=np.isfinite(values))) or 1.0
