"""Precision, recall and F1 over all classes, and how far they would move with other pictures of the same kind."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shardline.training.evaluation.share import CONFIDENCE, Share

_RESAMPLES = 1000
_SEED = 0  # the same answers have the same intervals

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A figure, and the 95 % interval that it lies in."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Averages:
    precision: Interval
    recall: Interval
    f1: Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """Float64 [classes]; NaN where there is nothing to divide by."""

    precision: Floats  # of those that are said to be of the class
    recall: Floats  # of those that are of the class
    f1: Floats

    def averages(self) -> Floats:
        """[3]: precision, recall and F1, the means over the classes that there are pictures of.

        The precision of a class that is never said counts as 0, as scikit-learn's `zero_division=0` has it.
        """
        there = ~np.isnan(self.recall)
        return np.array([np.nan_to_num(rate[there]).mean() for rate in (self.precision, self.recall, self.f1)])


def rates(counts: NDArray[np.int64]) -> Rates:
    """A confusion matrix [true classes, said classes and one more for all others] -> the rates of the true ones."""
    classes = len(counts)
    return _rates(np.diagonal(counts), counts.sum(axis=1), counts[:, :classes].sum(axis=0))


def _rates(right: NDArray[np.int64], asked: NDArray[np.int64], said: NDArray[np.int64]) -> Rates:
    return Rates(precision=_divided(right, said), recall=_divided(right, asked), f1=_divided(2 * right, asked + said))


def _divided(above: NDArray[np.int64], below: NDArray[np.int64]) -> Floats:
    rate: Floats = np.divide(above, below, out=np.full(above.shape, np.nan), where=below > 0)
    return rate


def macro_and_f1(counts: NDArray[np.int64]) -> tuple[Averages, tuple[Interval, ...]]:
    """The macro averages, and F1 of each class, of a confusion matrix as of `rates`: one with pictures of each class.

    Intervals are by the bootstrap (Efron, 1979): the pictures are drawn anew from themselves a thousand times, and 95 %
    of the figures that come out lie between.
    """
    found, drawn = rates(counts), list(_drawn_anew(counts))
    precision, recall, f1 = _intervals(found.averages(), np.stack([each.averages() for each in drawn]))
    of_classes = _intervals(found.f1, np.stack([each.f1 for each in drawn]))
    return Averages(precision=precision, recall=recall, f1=f1), of_classes


def _drawn_anew(counts: NDArray[np.int64]) -> Iterator[Rates]:
    """Pictures drawn from themselves are places of the matrix, each as likely as it is full."""
    rows, columns = np.nonzero(counts)
    full = counts[rows, columns]
    on_diagonal = rows == columns
    random = np.random.default_rng(_SEED)
    for _ in range(_RESAMPLES):
        drawn = random.multinomial(full.sum(), full / full.sum())
        yield _rates(
            _summed(rows[on_diagonal], drawn[on_diagonal], len(counts)),
            _summed(rows, drawn, len(counts)),
            _summed(columns, drawn, len(counts) + 1)[:-1],
        )


def _summed(places: NDArray[np.int64], numbers: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    return np.bincount(places, numbers, count).astype(np.int64)


def _intervals(values: Floats, drawn: Floats) -> tuple[Interval, ...]:
    """`values` [n] and the same drawn anew, [resamples, n]. A class that was not drawn says nothing then."""
    rest = 50 * (1 - CONFIDENCE)
    low, high = np.nanpercentile(drawn, (rest, 100 - rest), axis=0)
    return tuple(
        Interval(value=value, low=lower, high=higher)
        for value, lower, higher in zip(values.tolist(), low.tolist(), high.tolist(), strict=True)
    )


def micro(top1: Share) -> Averages | None:
    """Over all answers: each picture has one class and one answer, so all three are the share of right answers."""
    if top1.share is None or top1.low is None or top1.high is None:
        return None
    same = Interval(value=top1.share, low=top1.low, high=top1.high)
    return Averages(precision=same, recall=same, f1=same)
