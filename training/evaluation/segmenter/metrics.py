"""Metrics of a segmentation: IoU of each class, mean IoU, pixel accuracy and confusion, with bootstrap intervals."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shardline.training.evaluation.classifier.metrics import Interval
from shardline.training.evaluation.metrics import CONFIDENCE, SourceDifference, to_json
from shardline.training.evaluation.segmenter.pictures import IGNORED, MOST_CLASSES, TrueLabels
from shardline.training.evaluation.segmenter.sources import Mask
from shardline.wire.errors import DatasetError

_RESAMPLES = 1000
_SEED = 0  # equal predictions have equal intervals

# keys of report.json for fields that all tasks share
_KEYS = {"same": "same_mask", "others": "other_pictures"}

Counts = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassOverlap:
    """Overlap of one class's true and predicted pixels.

    Attributes:
        pixels: of the class in the true masks.
        iou: intersection over union; None where the class is neither true nor predicted.
        accuracy: share of the class's pixels that are predicted to be of it; None where there are none.
        precision: share of the pixels predicted to be of the class that are; None where there are none.
    """

    index: int
    label: str
    pixels: int
    iou: Interval | None
    accuracy: float | None
    precision: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmenterMetrics:
    """Metrics of one source.

    Attributes:
        mean_iou: over the classes that have an IoU, as is `mean_accuracy` over those that have pixels.
        pixel_accuracy: share of all pixels with the right class.
        classes: those with an IoU.
        confusion: pixels: a row for each of `classes`, a column for each, and a last column for all others.
    """

    name: str
    mean_iou: Interval | None
    pixel_accuracy: Interval | None
    mean_accuracy: float | None
    pixels: int
    classes: tuple[ClassOverlap, ...]
    confusion: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmenterReport:
    """Metrics of all sources, side by side. The first source is the evaluated one, differences are from it."""

    pictures: int
    sides: tuple[SegmenterMetrics, ...]
    differences: tuple[SourceDifference, ...]

    def to_dict(self) -> dict[str, Any]:
        document: dict[str, Any] = to_json(self, _KEYS)
        return document


class SegmenterAccumulator:
    """Accumulator of one source's masks. Of each picture it keeps three counts of pixels for each class."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._confusion: Counts = np.zeros((0, 1), np.int64)  # [classes, classes + 1], the last column: no class
        self._pictures: list[Counts] = []  # [3, classes so far] each: right, true and predicted pixels

    def add(self, true: TrueLabels, predicted: Mask) -> float:
        """Add one picture's masks, integers [height, width]; return the share of its pixels that are right, 1 for none.

        True pixels of 255 count neither way. A predicted value of 255, or 65535 in 16 bits, is no class.

        Raises:
            DatasetError: more predicted classes than a report takes.
        """
        counted = true != IGNORED
        wanted, found = true[counted].astype(np.int64), predicted[counted].astype(np.int64)
        is_class = found != np.iinfo(predicted.dtype).max
        classes = max(len(self._confusion), int(max(wanted.max(initial=-1), found[is_class].max(initial=-1))) + 1)
        if classes > MOST_CLASSES:
            raise DatasetError(f"{self._name} predicts {classes} classes; a report takes at most {MOST_CLASSES}")
        cells = wanted * (classes + 1) + np.where(is_class, found, classes)
        counts = np.bincount(cells, minlength=classes * (classes + 1)).reshape(classes, classes + 1)
        self._confusion = _grown(self._confusion, classes) + counts
        right = np.diagonal(counts)
        self._pictures.append(np.stack([right, counts.sum(axis=1), counts[:, :-1].sum(axis=0)]))
        return float(right.sum() / counts.sum()) if counts.sum() else 1.0

    def metrics(self, labels: Mapping[int, str]) -> SegmenterMetrics:
        """Compute the metrics; `labels` name classes by their index.

        Intervals are by the bootstrap (Efron, 1979): the pictures are resampled with replacement a thousand times, and
        95 % of the resulting values lie in the interval.
        """
        classes = len(self._confusion)
        pictures = np.array([np.pad(counts, ((0, 0), (0, classes - counts.shape[1]))) for counts in self._pictures])
        sums = pictures.sum(axis=0)  # [3, classes]
        resampled = _resample(pictures)  # [resamples, 3, classes]
        iou, of_class, precision = _iou(sums), _divide(sums[0], sums[1]), _divide(sums[0], sums[2])
        known = np.flatnonzero(~np.isnan(iou)).tolist()
        ious = _iou(resampled)
        accuracies = _divide(resampled[:, 0].sum(axis=1), resampled[:, 1].sum(axis=1))
        return SegmenterMetrics(
            name=self._name,
            mean_iou=_interval(_mean(iou), _means(ious)),
            pixel_accuracy=_interval(float(_divide(sums[0].sum(), sums[1].sum())), accuracies),
            mean_accuracy=_number(_mean(of_class)),
            pixels=int(sums[1].sum()),
            classes=tuple(
                ClassOverlap(
                    index=index,
                    label=labels.get(index, f"class {index}"),
                    pixels=int(sums[1, index]),
                    iou=_interval(float(iou[index]), ious[:, index]),
                    accuracy=_number(float(of_class[index])),
                    precision=_number(float(precision[index])),
                )
                for index in known
            ),
            confusion=tuple(map(tuple, self._confusion[np.ix_(known, [*known, classes])].tolist())),
        )


def _grown(confusion: Counts, classes: int) -> Counts:
    """A confusion matrix [n, n + 1] for more classes: [classes, classes + 1]."""
    grown = np.zeros((classes, classes + 1), np.int64)
    before = len(confusion)
    grown[:before, :before], grown[:before, -1] = confusion[:, :-1], confusion[:, -1]
    return grown


def _resample(pictures: Counts) -> Floats:
    """Sums of resampled pictures' counts, [pictures, 3, classes] -> [resamples, 3, classes]."""
    count = len(pictures)
    drawn = np.random.default_rng(_SEED).multinomial(count, np.full(count, 1 / count), _RESAMPLES)
    sums: Floats = np.tensordot(drawn.astype(np.float64), pictures.astype(np.float64), 1)
    return sums


def _iou(sums: NDArray[Any]) -> Floats:
    """Intersection over union of each class, [..., 3, classes] -> [..., classes]."""
    right, true, predicted = (sums[..., row, :] for row in range(3))
    return _divide(right, true + predicted - right)


def _divide(above: NDArray[Any], below: NDArray[Any]) -> Floats:
    """NaN where the denominator is 0."""
    result: Floats = np.divide(above, below, out=np.full(np.shape(above), np.nan), where=np.asarray(below) > 0)
    return result


def _mean(values: Floats) -> float:
    """Mean of the numbers that are not NaN; NaN for none."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")


def _means(values: Floats) -> Floats:
    """`_mean` of each row of [n, classes]."""
    return np.array([_mean(row) for row in values])


def _interval(value: float, resampled: Floats) -> Interval | None:
    """An interval from values [resamples]; resamples where nothing is known, NaN, are left out."""
    if np.isnan(value):
        return None
    rest = 50 * (1 - CONFIDENCE)
    low, high = np.nanpercentile(resampled, (rest, 100 - rest))
    return Interval(value=value, low=float(low), high=float(high))


def _number(value: float) -> float | None:
    return None if np.isnan(value) else value
