"""A class against all others: precision and recall, true and false positives, at every score. By scikit-learn."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import auc, average_precision_score, precision_recall_curve, roc_curve

GRID: tuple[float, ...] = tuple(np.linspace(0, 1, 101).tolist())


@dataclass(frozen=True, slots=True, kw_only=True)
class Curves:
    """Of one class. The curves are at each place of GRID.

    Attributes:
        precision: the highest that is reached with this recall or a higher one.
        roc: the share of the class's pictures that is found where so large a share of the others is, too.
    """

    average_precision: float
    roc_auc: float
    precision: tuple[float, ...]
    roc: tuple[float, ...]


def curves(true: NDArray[np.bool_], scores: NDArray[np.float64]) -> Curves | None:
    """Which pictures [n] are of the class, and its scores [n]; None where all are, or none."""
    if true.all() or not true.any():
        return None
    precision, recall, _ = precision_recall_curve(true, scores)  # recall falls from 1 to 0
    false_positives, true_positives, _ = roc_curve(true, scores)
    best = np.maximum.accumulate(precision)
    at_recall = np.searchsorted(-recall, -np.array(GRID), side="right") - 1
    at_false = np.searchsorted(false_positives, GRID, side="right") - 1
    return Curves(
        average_precision=float(average_precision_score(true, scores)),
        roc_auc=float(auc(false_positives, true_positives)),
        precision=tuple(best[at_recall].tolist()),
        roc=tuple(true_positives[at_false].tolist()),
    )
