"""Do two that are compared say the same: the same numbers, the same answers?"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Outputs = Mapping[str, NDArray[Any]]  # what a model gives for a batch of one, by name

_NAMED = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Of one from the first.

    `equal` counts the pictures of which all numbers are equal to the bit; it and the largest difference (in the
    numbers' own units) are None where one of the two gives none. `same` counts those with the same answer.
    """

    name: str
    pictures: int
    equal: int | None
    max_abs_difference: float | None
    same: int
    others: tuple[str, ...]  # pictures' names, no more than the first hundred


@dataclass(slots=True)
class Differing:
    """Adds pictures up."""

    name: str
    _pictures: int = 0
    _largest: list[float] = field(default_factory=list)
    _same: int = 0
    _others: list[str] = field(default_factory=list)

    def add(self, sample: str, found: Outputs | None, first: Outputs | None, *, same: bool) -> None:
        """What this one and the first give for one picture, and whether their answers are the same."""
        self._pictures += 1
        if found is not None and first is not None:
            self._largest.append(_largest(found, first))
        if same:
            self._same += 1
        elif len(self._others) < _NAMED:
            self._others.append(sample)

    def figures(self) -> Difference:
        return Difference(
            name=self.name,
            pictures=self._pictures,
            equal=self._largest.count(0.0) if self._largest else None,
            max_abs_difference=max(self._largest) if self._largest else None,
            same=self._same,
            others=tuple(self._others),
        )


def _largest(found: Outputs, expected: Outputs) -> float:
    """The largest difference; infinite where shapes differ. NaN differs from all."""
    pairs = list(zip(found.values(), expected.values(), strict=False))
    if len(found) != len(expected) or any(one.shape != other.shape for one, other in pairs):
        return float("inf")
    differences = [np.abs(one.astype(np.float64) - other.astype(np.float64)).max(initial=0.0) for one, other in pairs]
    largest = max(float(each) for each in differences)
    return float("inf") if np.isnan(differences).any() else largest
