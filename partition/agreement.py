"""How far outputs are from what they should be, and how far they may be.

What may be compared is the task's to say: a detector's boxes are sorted by score, and rounding lets neighbours change
places. What a user feels is compared too: the top class, or the plates that are read.
"""

from collections.abc import Hashable, Mapping, Sequence

import numpy as np

from shardline.storage.bundle import Tolerance
from shardline.tasks.registry import task_code

_MARGIN = 2.0  # other pictures, and other machines, round otherwise than what was measured
_TOP1_MARGIN = 0.1
_LEAST_ERROR = 1e-4  # fp32 compiled is far below it, on every machine: it is what batching may move, too

Outputs = Mapping[str, np.ndarray]


class Agreement:
    """Adds up over many batches what `Tolerance` bounds."""

    def __init__(self, task: str = "classify") -> None:
        self._task = task_code(task)
        self.max_relative_error = 0.0
        self.tops: list[tuple[Hashable, Hashable]] = []

    def add(self, found: Outputs, expected: Outputs, *, picture: bool = True) -> None:
        """One batch's outputs by name; answers are compared of pictures only, for noise has none."""
        compared = self._task.comparable(found)
        errors = [relative_error(compared[name], value) for name, value in self._task.comparable(expected).items()]
        self.max_relative_error = max(self.max_relative_error, *errors)
        if picture:
            self.tops += self._answers(found, expected)

    def _answers(self, found: Outputs, expected: Outputs) -> Sequence[tuple[Hashable, Hashable]]:
        """(found, expected) answer of each instance."""
        one, other = self._task.answers(found), self._task.answers(expected)
        return list(zip(one, other, strict=True)) if one is not None and other is not None else []

    @property
    def top1(self) -> float | None:
        """The share of pictures with the same answer; None where the model gives none."""
        return sum(found == expected for found, expected in self.tops) / len(self.tops) if self.tops else None

    @property
    def classes(self) -> int | None:
        """How many different answers there were."""
        return len({found for found, _ in self.tops}) if self.tops else None

    def within(self, tolerance: Tolerance) -> bool:
        top1 = 1.0 if self.top1 is None else self.top1
        return self.max_relative_error <= tolerance.max_relative_error and top1 >= tolerance.top1_agreement

    def tolerance(self) -> Tolerance:
        """What was measured, with a margin; where every answer was the same within the least error, all must."""
        top1 = 1.0 if self.top1 is None else self.top1
        error = max(_MARGIN * self.max_relative_error, _LEAST_ERROR)
        exact = top1 == 1.0 and error == _LEAST_ERROR
        return Tolerance(
            max_relative_error=float(f"{error:.2g}"),
            top1_agreement=1.0 if exact else round(max(0.0, top1 - _TOP1_MARGIN), 3),
        )


def relative_error(found: np.ndarray, expected: np.ndarray) -> float:
    """The largest difference over the largest expected value; infinite where shapes or the places of NaN differ."""
    if found.shape != expected.shape:
        return float("inf")
    found, expected = found.astype(np.float64), expected.astype(np.float64)
    if not np.array_equal(np.isnan(found), np.isnan(expected)):
        return float("inf")
    largest = float(np.nanmax(np.abs(expected), initial=0.0)) or 1.0
    return float(np.nanmax(np.abs(found - expected), initial=0.0)) / largest
