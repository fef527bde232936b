"""Do two sources say the same: the same numbers, the same plates?"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from training.evaluation.detections import Outputs
from training.evaluation.readings import Prediction
from training.evaluation.sources import Seen

_NAMED = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Of one source from the first.

    `equal` counts the pictures of which all outputs are equal to the bit; it and the largest difference (in the
    outputs' own units: pixels, scores) are None where one of the two gives plates alone. `same_plates` counts those
    with the same types and texts.
    """

    name: str
    pictures: int
    equal: int | None
    max_abs_difference: float | None
    same_plates: int
    other_plates: tuple[str, ...]  # pictures' names, no more than the first hundred


@dataclass(slots=True)
class Differing:
    """Adds pictures up."""

    name: str
    _pictures: int = 0
    _largest: list[float] = field(default_factory=list)
    _same_plates: int = 0
    _others: list[str] = field(default_factory=list)

    def add(self, sample: str, seen: Seen, first: Seen) -> None:
        """What both say of one picture."""
        self._pictures += 1
        if seen.outputs is not None and first.outputs is not None:
            self._largest.append(_largest(seen.outputs, first.outputs))
        if _texts(seen.plates) == _texts(first.plates):
            self._same_plates += 1
        elif len(self._others) < _NAMED:
            self._others.append(sample)

    def figures(self) -> Difference:
        return Difference(
            name=self.name,
            pictures=self._pictures,
            equal=self._largest.count(0.0) if self._largest else None,
            max_abs_difference=max(self._largest) if self._largest else None,
            same_plates=self._same_plates,
            other_plates=tuple(self._others),
        )


def _largest(found: Outputs, expected: Outputs) -> float:
    """The largest difference; infinite where shapes differ. NaN differs from all."""
    pairs = list(zip(found.values(), expected.values(), strict=False))
    if len(found) != len(expected) or any(one.shape != other.shape for one, other in pairs):
        return float("inf")
    differences = [np.abs(one.astype(np.float64) - other.astype(np.float64)).max(initial=0.0) for one, other in pairs]
    largest = max(float(each) for each in differences)
    return float("inf") if np.isnan(differences).any() else largest


def _texts(plates: Sequence[Prediction]) -> list[tuple[str, ...]]:
    return sorted(tuple(str(plate.get(key)) for key in ("type", "sub_text", "main_text")) for plate in plates)
