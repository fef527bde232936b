"""Precision, recall and average precision of each class, by COCO's own evaluator, one picture at a time.

COCO's evaluator wants all the pictures at once. Here it matches the boxes of one picture at a time, and of each class
only the detections' scores and whether they were right are kept: 21 bytes a detection. From these it makes the figures
of all the pictures together, as it would have. It prints what it does, which nobody wants to read.
"""

import io
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from shardline.tasks.plates.text import CLASSES
from shardline.training.evaluation.plates.detections import Detections, sized
from shardline.training.evaluation.plates.sample import Thing

_IMAGE = 1
_MOST = 10_000  # detections of a class in a picture: more than there are, so that none is left out
_ANY_SIZE = [0, 1e10]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassFigures:
    """One class. Each is None where nothing says it: without true things, or for `precision` without detections.

    `precision` and `recall` are at IoU 0.5 and the threshold. The curve is precision at IoU 0.5 for each recall in
    RECALLS.
    """

    label: str
    things: int  # that are asked for
    precision: float | None
    recall: float | None
    ap50: float | None
    ap: float | None  # mean over IoU 0.5, 0.55, … 0.95
    curve: tuple[float, ...] | None


RECALLS: tuple[float, ...] = tuple(np.linspace(0, 1, 101).tolist())


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """Detections of one class, of one picture or many."""

    scores: NDArray[np.float64]  # [n]
    right: NDArray[np.bool_]  # [IoUs, n]
    ignored: NDArray[np.bool_]  # [IoUs, n]


@dataclass(slots=True)
class Precision:
    """Adds pictures up."""

    _things: list[int] = field(default_factory=lambda: [0] * len(CLASSES))
    _found: list[list[_Found]] = field(default_factory=lambda: [[] for _ in CLASSES])

    def add(self, true: Sequence[Thing], found: Detections) -> None:
        """One picture."""
        if not len(found.labels):
            for thing in true:
                self._things[thing.label] += not thing.crowd
            return
        evaluator = _evaluator(_coco(_true(true)), _coco(_detected(found)))
        with redirect_stdout(io.StringIO()):
            evaluator.evaluate()
        for label, image in enumerate(evaluator.evalImgs):
            if image is not None:
                self._things[label] += int(np.count_nonzero(np.asarray(image["gtIgnore"]) == 0))
                self._found[label].append(
                    _Found(
                        scores=np.asarray(image["dtScores"], np.float64),
                        right=np.asarray(image["dtMatches"]) > 0,
                        ignored=np.asarray(image["dtIgnore"]) > 0,
                    )
                )

    def figures(self, threshold: float) -> tuple[ClassFigures, ...]:
        """Of each class, in the order of CLASSES."""
        joined = [_joined(each) for each in self._found]
        precision = self._precision(joined)
        return tuple(
            _figures(label, things, found, precision[:, :, number], threshold)
            for number, (label, things, found) in enumerate(zip(CLASSES, self._things, joined, strict=True))
        )

    def _precision(self, joined: Sequence[_Found]) -> NDArray[np.float64]:
        """[IoUs, recalls, classes]; -1 where a class has no true things."""
        evaluator = _evaluator(_coco([]), _coco([]))
        evaluator.params.imgIds = [_IMAGE]
        evaluator.params.maxDets = [max(1, *(len(each.scores) for each in joined))]
        # what evaluate() leaves behind for accumulate(), as if all the pictures were one
        evaluator._paramsEval = evaluator.params
        evaluator.evalImgs = [
            {
                "dtScores": found.scores,
                "dtMatches": found.right,
                "dtIgnore": found.ignored,
                "gtIgnore": np.zeros(things),
            }
            for things, found in zip(self._things, joined, strict=True)
        ]
        with redirect_stdout(io.StringIO()):
            evaluator.accumulate()
        precision: NDArray[np.float64] = evaluator.eval["precision"][:, :, :, 0, 0]
        return precision


def mean(values: Sequence[float | None]) -> float | None:
    """Of those that there are."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _figures(label: str, things: int, found: _Found, precision: NDArray[np.float64], threshold: float) -> ClassFigures:
    sure = (found.scores >= threshold) & ~found.ignored[0]
    right = int(np.count_nonzero(sure & found.right[0]))
    said = int(np.count_nonzero(sure))
    return ClassFigures(
        label=label,
        things=things,
        precision=right / said if said else None,
        recall=right / things if things else None,
        ap50=float(precision[0].mean()) if things else None,
        ap=float(precision.mean()) if things else None,
        curve=tuple(precision[0].tolist()) if things else None,
    )


def _joined(parts: Sequence[_Found]) -> _Found:
    ious = len(COCOeval(iouType="bbox").params.iouThrs)
    none = np.zeros((ious, 0), bool)
    return _Found(
        scores=np.concatenate([np.zeros(0), *(each.scores for each in parts)]),
        right=np.concatenate([none, *(each.right for each in parts)], axis=1),
        ignored=np.concatenate([none, *(each.ignored for each in parts)], axis=1),
    )


def _true(things: Sequence[Thing]) -> list[dict[str, Any]]:
    boxes = sized(np.array([thing.box for thing in things], np.float64).reshape(-1, 4))
    return [
        {"category_id": thing.label, "bbox": box, "area": box[2] * box[3], "iscrowd": int(thing.crowd)}
        for thing, box in zip(things, boxes.tolist(), strict=True)
    ]


def _detected(found: Detections) -> list[dict[str, Any]]:
    rows = zip(found.labels.tolist(), found.scores.tolist(), sized(found.boxes).tolist(), strict=True)
    return [
        {"category_id": label, "bbox": box, "area": box[2] * box[3], "iscrowd": 0, "score": score}
        for label, score, box in rows
    ]


def _coco(annotations: list[dict[str, Any]]) -> Any:
    """COCO's index of one picture. An annotation's id of 0 would count as none."""
    index = COCO()
    index.dataset = {
        "images": [{"id": _IMAGE}],
        "categories": [{"id": number} for number in range(len(CLASSES))],
        "annotations": [{**each, "id": number, "image_id": _IMAGE} for number, each in enumerate(annotations, 1)],
    }
    with redirect_stdout(io.StringIO()):
        index.createIndex()
    return index


def _evaluator(true: Any, found: Any) -> Any:
    evaluator = COCOeval(true, found, "bbox")
    evaluator.params.maxDets = [_MOST]
    evaluator.params.areaRng, evaluator.params.areaRngLbl = [_ANY_SIZE], ["all"]
    evaluator.params.catIds = list(range(len(CLASSES)))
    return evaluator
