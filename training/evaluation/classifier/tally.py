"""One source's figures in the making."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shardline.training.evaluation.calibration import Calibration, CalibrationFigures
from shardline.training.evaluation.classifier.averages import Averages, Interval, macro_and_f1, micro
from shardline.training.evaluation.classifier.curves import Curves, curves
from shardline.training.evaluation.classifier.sources import Seen, classes_of
from shardline.training.evaluation.share import Share, share

_TOP = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassFigures:
    """One class of the data. `curves` is None where all the pictures are of this class."""

    label: str
    precision: Share  # of the pictures that are said to show it
    recall: Share  # of those that do
    f1: Interval
    curves: Curves | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """All about one source.

    Attributes:
        top5: None where the model has no more than five classes.
        average_precision: the classes' mean, as is `roc_auc`; None where all the pictures are of one class.
        confusion: a row for each class of the data, a column for each, and a last one for what is none of them.
    """

    name: str
    top1: Share
    top5: Share | None
    macro: Averages
    micro: Averages
    average_precision: float | None
    roc_auc: float | None
    calibration: CalibrationFigures
    classes: tuple[ClassFigures, ...]
    confusion: tuple[tuple[int, ...], ...]


class Tally:
    """Adds pictures up; of each it keeps the scores of the data's classes, not the picture."""

    def __init__(self, name: str, labels: Sequence[str]) -> None:
        """
        Args:
            labels: of the data's classes.
        """
        self._name = name
        self._labels = tuple(labels)
        self._model: tuple[str, ...] = ()  # the labels of the model's classes
        self._classes = np.zeros(0, np.int64)  # the model's class for each of the data's
        self._calibration = Calibration()
        self._counts = np.zeros((len(labels), len(labels) + 1), np.int64)
        self._true: list[int] = []
        self._ranks: list[int] = []
        self._scores: list[NDArray[np.float64]] = []

    def add(self, label: int, seen: Seen) -> bool:
        """One picture of this class of the data; whether the class that is said first is right.

        Raises:
            ModelError: a label of the data is none of the model's.
        """
        if seen.labels != self._model:
            self._model, self._classes = seen.labels, classes_of(self._labels, seen.labels)
        places = np.flatnonzero(seen.order == self._classes[label])
        rank = int(places[0]) if len(places) else len(seen.labels)
        said = np.flatnonzero(self._classes == seen.order[0])
        self._counts[label, said[0] if len(said) else -1] += 1
        self._calibration.add(float(seen.scores[seen.order[0]]), right=rank == 0)
        self._true.append(label)
        self._ranks.append(rank)
        self._scores.append(seen.scores[self._classes])
        return rank == 0

    def side(self) -> Side:
        """Of what was added so far: at least one picture of each class."""
        top1 = self._within(1)
        averages, f1 = macro_and_f1(self._counts)
        micro_averages = micro(top1)
        assert micro_averages is not None
        true, scores = np.array(self._true), np.stack(self._scores)
        found = [curves(true == place, scores[:, place]) for place in range(len(self._labels))]
        classes = tuple(self._class(place, *each) for place, each in enumerate(zip(f1, found, strict=True)))
        known = [each.curves for each in classes if each.curves is not None]
        return Side(
            name=self._name,
            top1=top1,
            top5=self._within(_TOP) if len(self._model) > _TOP else None,
            macro=averages,
            micro=micro_averages,
            average_precision=float(np.mean([each.average_precision for each in known])) if known else None,
            roc_auc=float(np.mean([each.roc_auc for each in known])) if known else None,
            calibration=self._calibration.figures(),
            classes=classes,
            confusion=tuple(tuple(row) for row in self._counts.tolist()),
        )

    def _within(self, top: int) -> Share:
        return share(f"top-{top}", sum(rank < top for rank in self._ranks), len(self._ranks))

    def _class(self, place: int, f1: Interval, found: Curves | None) -> ClassFigures:
        right = int(self._counts[place, place])
        return ClassFigures(
            label=self._labels[place],
            precision=share("precision", right, int(self._counts[:, place].sum())),
            recall=share("recall", right, int(self._counts[place].sum())),
            f1=f1,
            curves=found,
        )
