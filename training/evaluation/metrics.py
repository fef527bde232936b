"""Metrics that all tasks share: proportions with confidence intervals, calibration, differences; and their JSON."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from shardline.partition.compare import Outputs, max_abs_difference

CONFIDENCE = 0.95
MOST_NAMES = 100  # pictures that a report names in one list

_BINS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Proportion:
    """`right` of `count` cases, with Wilson's 95 % confidence interval; None where there are no cases."""

    name: str
    count: int
    right: int
    share: float | None
    low: float | None
    high: float | None


def proportion(name: str, right: int, count: int) -> Proportion:
    if not count:
        return Proportion(name=name, count=0, right=0, share=None, low=None, high=None)
    interval = binomtest(right, count).proportion_ci(CONFIDENCE, method="wilson")
    return Proportion(
        name=name,
        count=count,
        right=right,
        share=right / count,
        low=float(interval.low),
        high=float(interval.high),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationBin:
    """Predictions with scores from `low` to `high`."""

    low: float
    high: float
    count: int
    mean_score: float | None
    share_right: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationMetrics:
    """`error` is the expected calibration error (Naeini et al., 2015): the mean gap between score and accuracy."""

    count: int
    error: float | None
    bins: tuple[CalibrationBin, ...]


@dataclass(slots=True)
class Calibration:
    """Accumulator that compares scores with accuracy: of predictions scored 0.9, nine in ten should be right."""

    _scores: list[float] = field(default_factory=list)
    _right: list[bool] = field(default_factory=list)

    def add(self, score: float, *, right: bool) -> None:
        self._scores.append(score)
        self._right.append(right)

    def add_all(self, predictions: Iterable[tuple[float, bool]]) -> None:
        """Add predictions: the score of each, and whether it is right."""
        for score, right in predictions:
            self.add(score, right=right)

    def metrics(self) -> CalibrationMetrics:
        scores, right = np.array(self._scores), np.array(self._right, bool)
        edges = np.linspace(0, 1, _BINS + 1)
        bin_of = np.clip(np.digitize(scores, edges) - 1, 0, _BINS - 1)  # [predictions]; a score of 1 is in the last bin
        bins = tuple(
            _bin(float(edges[number]), float(edges[number + 1]), scores[bin_of == number], right[bin_of == number])
            for number in range(_BINS)
        )
        gaps = [
            found.count * abs(found.mean_score - found.share_right)
            for found in bins
            if found.mean_score is not None and found.share_right is not None
        ]
        return CalibrationMetrics(count=len(scores), error=sum(gaps) / len(scores) if gaps else None, bins=bins)


def _bin(low: float, high: float, scores: NDArray[np.float64], right: NDArray[np.bool_]) -> CalibrationBin:
    known = len(scores) > 0
    return CalibrationBin(
        low=low,
        high=high,
        count=len(scores),
        mean_score=float(scores.mean()) if known else None,
        share_right=float(right.mean()) if known else None,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceDifference:
    """Difference of a source from the first one.

    Attributes:
        equal: pictures for which all outputs are equal to the bit; None where a source gives no outputs.
        max_abs_difference: in the outputs' own units; None where `equal` is.
        same: pictures with the same prediction.
        others: names of pictures with another prediction, at most a hundred.
    """

    name: str
    pictures: int
    equal: int | None
    max_abs_difference: float | None
    same: int
    others: tuple[str, ...]


@dataclass(slots=True)
class SourceComparison:
    """Accumulator that compares a source with the first one, picture by picture."""

    name: str
    _pictures: int = 0
    _largest: list[float] = field(default_factory=list)
    _same: int = 0
    _others: list[str] = field(default_factory=list)

    def add(self, picture: str, found: Outputs | None, first: Outputs | None, *, same: bool) -> None:
        """Add one picture.

        Args:
            picture: its name.
            found: arrays of this source, of any shape and dtype; None where the source gives none.
            first: arrays of the first source.
            same: the two predictions are equal.
        """
        self._pictures += 1
        if found is not None and first is not None:
            self._largest.append(_largest_difference(found, first))
        if same:
            self._same += 1
        elif len(self._others) < MOST_NAMES:
            self._others.append(picture)

    def difference(self) -> SourceDifference:
        return SourceDifference(
            name=self.name,
            pictures=self._pictures,
            equal=self._largest.count(0.0) if self._largest else None,
            max_abs_difference=max(self._largest) if self._largest else None,
            same=self._same,
            others=tuple(self._others),
        )


def _largest_difference(found: Outputs, expected: Outputs) -> float:
    """The largest absolute difference over all arrays, whose dtypes may differ; infinite where shapes differ."""
    if len(found) != len(expected):
        return math.inf
    pairs = zip(found.values(), expected.values(), strict=True)
    return max(max_abs_difference(actual.astype(np.float64), wanted.astype(np.float64)) for actual, wanted in pairs)


def to_json(metrics: Any, names: Mapping[str, str]) -> Any:
    """Dataclasses, however nested, as a JSON value.

    Args:
        names: field name -> key in the document, for fields that a task calls differently.
    """
    if is_dataclass(metrics):
        return {
            names.get(field.name, field.name): to_json(getattr(metrics, field.name), names) for field in fields(metrics)
        }
    if isinstance(metrics, Mapping):
        return {key: to_json(value, names) for key, value in metrics.items()}
    if isinstance(metrics, list | tuple):
        return [to_json(value, names) for value in metrics]
    return metrics
