"""Metrics of a detector: COCO's average precisions, of all classes and of each."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from shardline.training.evaluation.coco import RECALLS, BoxClassMetrics, mean
from shardline.training.evaluation.metrics import SourceDifference, to_json

# keys of report.json for fields that all tasks share
_KEYS = {"things": "objects", "same": "same_objects", "others": "other_objects"}


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorMetrics:
    """Metrics of one source.

    Attributes:
        map: mean of the classes' average precisions over IoU 0.5, 0.55, … 0.95.
        map50: mean of the classes' average precisions at IoU 0.5.
    """

    name: str
    map: float | None
    map50: float | None
    classes: tuple[BoxClassMetrics, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorReport:
    """Metrics of all sources, side by side. The first source is the evaluated one, differences are from it."""

    threshold: float
    pictures: int
    sides: tuple[DetectorMetrics, ...]
    differences: tuple[SourceDifference, ...]

    def to_dict(self) -> dict[str, Any]:
        return {**to_json(self, _KEYS), "recalls": RECALLS}


def detector_metrics(name: str, classes: Sequence[BoxClassMetrics]) -> DetectorMetrics:
    """Metrics of a source, from those of each class."""
    return DetectorMetrics(
        name=name,
        map=mean([found.ap for found in classes]),
        map50=mean([found.ap50 for found in classes]),
        classes=tuple(classes),
    )
