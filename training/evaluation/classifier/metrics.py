"""Metrics of a classifier: accuracy, precision, recall, F1, average precision, ROC, calibration and confusion."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import auc, average_precision_score, precision_recall_curve, roc_curve

from shardline.training.evaluation.metrics import (
    CONFIDENCE,
    Calibration,
    CalibrationMetrics,
    Proportion,
    SourceDifference,
    proportion,
    to_json,
)
from shardline.wire.errors import DatasetError

if TYPE_CHECKING:
    from shardline.training.evaluation.classifier.sources import ClassPrediction

GRID: tuple[float, ...] = tuple(np.linspace(0, 1, 101).tolist())

_TOP = 5
_RESAMPLES = 1000
_SEED = 0  # equal predictions have equal intervals
_MOST_NAMED = 10  # labels that an error message lists

# keys of report.json for fields that all tasks share
_KEYS = {"count": "pictures", "same": "same_class", "others": "other_pictures"}

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A value and its 95 % confidence interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassAverages:
    """Averages over all classes."""

    precision: Interval
    recall: Interval
    f1: Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassRates:
    """Rates of each class, float64 [classes]; NaN where the denominator is zero."""

    precision: Floats  # of the pictures that are predicted to be of the class
    recall: Floats  # of the pictures that are of the class
    f1: Floats

    def macro(self) -> Floats:
        """Macro averages of precision, recall and F1, float64 [3], over the classes that have pictures.

        The precision of a class that is never predicted counts as 0, as with scikit-learn's `zero_division=0`.
        """
        has_pictures = ~np.isnan(self.recall)
        return np.array([np.nan_to_num(rate[has_pictures]).mean() for rate in (self.precision, self.recall, self.f1)])


def class_rates(counts: NDArray[np.int64]) -> ClassRates:
    """Rates of each class of a confusion matrix, int64 [classes, classes + 1].

    Rows are true classes, columns predicted ones; the last column holds all other predictions.
    """
    classes = len(counts)
    return _rates(np.diagonal(counts), counts.sum(axis=1), counts[:, :classes].sum(axis=0))


def _rates(right: NDArray[np.int64], true: NDArray[np.int64], predicted: NDArray[np.int64]) -> ClassRates:
    """Rates from counts, int64 [classes] each."""
    return ClassRates(
        precision=_divide(right, predicted), recall=_divide(right, true), f1=_divide(2 * right, true + predicted)
    )


def _divide(above: NDArray[np.int64], below: NDArray[np.int64]) -> Floats:
    rate: Floats = np.divide(above, below, out=np.full(above.shape, np.nan), where=below > 0)
    return rate


def macro_and_f1(counts: NDArray[np.int64]) -> tuple[ClassAverages, tuple[Interval, ...]]:
    """Macro averages, and F1 of each class, of a confusion matrix, int64 [classes, classes + 1], as in `class_rates`.

    Each class must have pictures. Intervals are by the bootstrap (Efron, 1979): the pictures are resampled with
    replacement a thousand times, and 95 % of the resulting values lie in the interval.
    """
    found, resampled = class_rates(counts), list(_resample(counts))
    precision, recall, f1 = _intervals(found.macro(), np.stack([rates.macro() for rates in resampled]))
    f1_of_classes = _intervals(found.f1, np.stack([rates.f1 for rates in resampled]))
    return ClassAverages(precision=precision, recall=recall, f1=f1), f1_of_classes


def _resample(counts: NDArray[np.int64]) -> Iterator[ClassRates]:
    """Rates of resampled pictures: each cell of the matrix is drawn with the probability of its count."""
    rows, columns = np.nonzero(counts)  # [cells] each
    filled = counts[rows, columns]
    on_diagonal = rows == columns
    random = np.random.default_rng(_SEED)
    for _ in range(_RESAMPLES):
        drawn = random.multinomial(filled.sum(), filled / filled.sum())
        yield _rates(
            _sum_at(rows[on_diagonal], drawn[on_diagonal], len(counts)),
            _sum_at(rows, drawn, len(counts)),
            _sum_at(columns, drawn, len(counts) + 1)[:-1],
        )


def _sum_at(positions: NDArray[np.int64], values: NDArray[np.int64], length: int) -> NDArray[np.int64]:
    return np.bincount(positions, values, length).astype(np.int64)


def _intervals(values: Floats, resampled: Floats) -> tuple[Interval, ...]:
    """Intervals of `values` [n] from `resampled` [resamples, n]; resamples without a class, NaN there, are left out."""
    rest = 50 * (1 - CONFIDENCE)
    low, high = np.nanpercentile(resampled, (rest, 100 - rest), axis=0)
    return tuple(
        Interval(value=value, low=lower, high=higher)
        for value, lower, higher in zip(values.tolist(), low.tolist(), high.tolist(), strict=True)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassCurves:
    """Precision-recall and ROC curve of one class against all others, at each value of GRID.

    Attributes:
        precision: the highest precision that is reached with this recall or a higher one.
        roc: the true positive rate at this false positive rate.
    """

    average_precision: float
    roc_auc: float
    precision: tuple[float, ...]
    roc: tuple[float, ...]


def class_curves(true: NDArray[np.bool_], scores: Floats) -> ClassCurves | None:
    """Curves of one class, by scikit-learn; None where all pictures are of the class, or none is.

    Args:
        true: bool [pictures], whether a picture is of the class.
        scores: float64 [pictures], the scores of the class.
    """
    if true.all() or not true.any():
        return None
    precision, recall, _ = precision_recall_curve(true, scores)  # recall falls from 1 to 0
    false_positives, true_positives, _ = roc_curve(true, scores)
    best = np.maximum.accumulate(precision)
    at_recall = np.searchsorted(-recall, -np.array(GRID), side="right") - 1
    at_false = np.searchsorted(false_positives, GRID, side="right") - 1
    return ClassCurves(
        average_precision=float(average_precision_score(true, scores)),
        roc_auc=float(auc(false_positives, true_positives)),
        precision=tuple(best[at_recall].tolist()),
        roc=tuple(true_positives[at_false].tolist()),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassMetrics:
    """Metrics of one class of the data. `curves` is None where all the pictures are of this class."""

    label: str
    precision: Proportion  # of the pictures that are predicted to show it
    recall: Proportion  # of the pictures that show it
    f1: Interval
    curves: ClassCurves | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassifierMetrics:
    """Metrics of one source.

    Attributes:
        top1: also the micro average of precision, recall and F1, as each picture has one class and one prediction.
        top5: None where the model has no more than five classes.
        average_precision: the mean of the classes, as is `roc_auc`; None where all the pictures are of one class.
        confusion: a row for each class of the data, a column for each, and a last column for all other predictions.
    """

    name: str
    top1: Proportion
    top5: Proportion | None
    macro: ClassAverages
    average_precision: float | None
    roc_auc: float | None
    calibration: CalibrationMetrics
    classes: tuple[ClassMetrics, ...]
    confusion: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassifierReport:
    """Metrics of all sources, side by side. The first source is the evaluated one, differences are from it."""

    pictures: int
    labels: tuple[str, ...]
    sides: tuple[ClassifierMetrics, ...]
    differences: tuple[SourceDifference, ...]

    def to_dict(self) -> dict[str, Any]:
        return {**to_json(self, _KEYS), "grid": GRID}


class ClassifierAccumulator:
    """Accumulator of one source's predictions. Of each picture it keeps the scores of the data's classes."""

    def __init__(self, name: str, labels: Sequence[str]) -> None:
        """
        Args:
            labels: names of the data's classes.
        """
        self._name = name
        self._labels = tuple(labels)
        self._model_labels: tuple[str, ...] = ()
        self._classes = np.zeros(0, np.int64)  # the model's class for each of the data's
        self._calibration = Calibration()
        self._confusion = np.zeros((len(labels), len(labels) + 1), np.int64)
        self._true: list[int] = []
        self._ranks: list[int] = []
        self._scores: list[Floats] = []  # [data's classes] each

    def add(self, label: int, predicted: "ClassPrediction") -> bool:
        """Add one picture of the data's class `label`; return whether the first predicted class is right.

        Raises:
            DatasetError: a label of the data is none of the model's.
        """
        if predicted.labels != self._model_labels:
            self._model_labels = predicted.labels
            self._classes = model_classes(self._labels, predicted.labels)
        positions = np.flatnonzero(predicted.order == self._classes[label])
        rank = int(positions[0]) if len(positions) else len(predicted.labels)
        column = np.flatnonzero(self._classes == predicted.order[0])
        self._confusion[label, column[0] if len(column) else -1] += 1
        self._calibration.add(float(predicted.scores[predicted.order[0]]), right=rank == 0)
        self._true.append(label)
        self._ranks.append(rank)
        self._scores.append(predicted.scores[self._classes])
        return rank == 0

    def metrics(self) -> ClassifierMetrics:
        """Metrics of all pictures so far: at least one of each class."""
        top1 = self._within(1)
        macro, f1 = macro_and_f1(self._confusion)
        true, scores = np.array(self._true), np.stack(self._scores)
        curves = [class_curves(true == number, scores[:, number]) for number in range(len(self._labels))]
        known = [found for found in curves if found is not None]
        return ClassifierMetrics(
            name=self._name,
            top1=top1,
            top5=self._within(_TOP) if len(self._model_labels) > _TOP else None,
            macro=macro,
            average_precision=float(np.mean([found.average_precision for found in known])) if known else None,
            roc_auc=float(np.mean([found.roc_auc for found in known])) if known else None,
            calibration=self._calibration.metrics(),
            classes=tuple(self._class(number, *found) for number, found in enumerate(zip(f1, curves, strict=True))),
            confusion=tuple(tuple(row) for row in self._confusion.tolist()),
        )

    def _within(self, top: int) -> Proportion:
        return proportion(f"top-{top}", sum(rank < top for rank in self._ranks), len(self._ranks))

    def _class(self, number: int, f1: Interval, curves: ClassCurves | None) -> ClassMetrics:
        right = int(self._confusion[number, number])
        return ClassMetrics(
            label=self._labels[number],
            precision=proportion("precision", right, int(self._confusion[:, number].sum())),
            recall=proportion("recall", right, int(self._confusion[number].sum())),
            f1=f1,
            curves=curves,
        )


def model_classes(names: Sequence[str], labels: Sequence[str]) -> NDArray[np.int64]:
    """The model's class for each class of the data, int64 [len(names)]: the one with that label, or of that number.

    Raises:
        DatasetError: a name matches no class, or several; or two names are the same class.
    """
    classes = [_model_class(name, labels) for name in names]
    repeated = [name for name, number in zip(names, classes, strict=True) if classes.count(number) > 1]
    if repeated:
        raise DatasetError(
            f"the folders {', '.join(repeated)} are the same class of the model: put their pictures into one"
        )
    return np.array(classes)


def _model_class(name: str, labels: Sequence[str]) -> int:
    matching = [number for number, label in enumerate(labels) if label == name]
    if len(matching) == 1:
        return matching[0]
    if name.isdecimal() and int(name) < len(labels):
        return int(name)
    allowed = f"a number below {len(labels)}"
    if matching:
        raise DatasetError(
            f"{len(matching)} of the model's classes are called {name!r}: name the folder {allowed} instead"
        )
    known = ", ".join(labels[:_MOST_NAMED]) + (", …" if len(labels) > _MOST_NAMED else "")
    raise DatasetError(f"folder {name!r} does not match any class of the model: allowed are {known}, or {allowed}")
