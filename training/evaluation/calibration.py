"""Do the scores mean what they say: of the plates with a score of 0.9, are nine in ten read fully right?"""

from dataclasses import dataclass, field

import numpy as np

from training.evaluation.readings import Judged, Outcome

LEAST_SCORE = 0.05  # scores far below the threshold show whether it is where it should be
_BINS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Bin:
    """Plates whose scores lie from `low` to `high`."""

    low: float
    high: float
    plates: int
    mean_score: float | None
    share_right: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationFigures:
    """`error` is the expected calibration error (Naeini et al., 2015): how far score and share are apart on average."""

    plates: int
    error: float | None
    bins: tuple[Bin, ...]


@dataclass(slots=True)
class Calibration:
    """Adds pictures up. Plates that nobody could read count neither way; what is no plate counts as wrong."""

    _scores: list[float] = field(default_factory=list)
    _right: list[bool] = field(default_factory=list)

    def add(self, judged: Judged) -> None:
        for each in judged.asked:
            if each.prediction is not None:
                self._scores.append(float(each.prediction["score"]))
                self._right.append(each.outcome is Outcome.RIGHT)
        for prediction in judged.false:
            self._scores.append(float(prediction["score"]))
            self._right.append(False)

    def figures(self) -> CalibrationFigures:
        scores, right = np.array(self._scores), np.array(self._right, bool)
        edges = np.linspace(0, 1, _BINS + 1)
        numbers = np.clip(np.digitize(scores, edges) - 1, 0, _BINS - 1)
        bins = tuple(
            _bin(float(edges[each]), float(edges[each + 1]), scores[numbers == each], right[numbers == each])
            for each in range(_BINS)
        )
        gaps = [
            each.plates * abs(each.mean_score - each.share_right)
            for each in bins
            if each.mean_score is not None and each.share_right is not None
        ]
        return CalibrationFigures(plates=len(scores), error=sum(gaps) / len(scores) if gaps else None, bins=bins)


def _bin(low: float, high: float, scores: "np.ndarray", right: "np.ndarray") -> Bin:
    known = len(scores) > 0
    return Bin(
        low=low,
        high=high,
        plates=len(scores),
        mean_score=float(scores.mean()) if known else None,
        share_right=float(right.mean()) if known else None,
    )
