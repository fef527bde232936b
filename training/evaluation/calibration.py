"""Do the scores mean what they say: of the answers with a score of 0.9, are nine in ten right?"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

_BINS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Bin:
    """Answers whose scores lie from `low` to `high`."""

    low: float
    high: float
    count: int
    mean_score: float | None
    share_right: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationFigures:
    """`error` is the expected calibration error (Naeini et al., 2015): how far score and share are apart on average."""

    count: int
    error: float | None
    bins: tuple[Bin, ...]


@dataclass(slots=True)
class Calibration:
    """Adds answers up."""

    _scores: list[float] = field(default_factory=list)
    _right: list[bool] = field(default_factory=list)

    def add(self, score: float, *, right: bool) -> None:
        self._scores.append(score)
        self._right.append(right)

    def figures(self) -> CalibrationFigures:
        scores, right = np.array(self._scores), np.array(self._right, bool)
        edges = np.linspace(0, 1, _BINS + 1)
        numbers = np.clip(np.digitize(scores, edges) - 1, 0, _BINS - 1)
        bins = tuple(
            _bin(float(edges[each]), float(edges[each + 1]), scores[numbers == each], right[numbers == each])
            for each in range(_BINS)
        )
        gaps = [
            each.count * abs(each.mean_score - each.share_right)
            for each in bins
            if each.mean_score is not None and each.share_right is not None
        ]
        return CalibrationFigures(count=len(scores), error=sum(gaps) / len(scores) if gaps else None, bins=bins)


def _bin(low: float, high: float, scores: NDArray[np.float64], right: NDArray[np.bool_]) -> Bin:
    known = len(scores) > 0
    return Bin(
        low=low,
        high=high,
        count=len(scores),
        mean_score=float(scores.mean()) if known else None,
        share_right=float(right.mean()) if known else None,
    )
