"""Average precision of boxes by COCO's own evaluator, one picture at a time, and the boxes that it compares.

COCO's evaluator expects all the pictures at once. Here it matches the boxes of one picture at a time, and of each class
only the detections' scores and whether they were right are kept: 21 bytes a detection. From these it computes the
figures of all the pictures together, as it would have. Its progress messages are discarded.
"""

import io
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from shardline.wire.boxes import areas, intersections, iou

Floats = NDArray[np.float64]
Box = tuple[float, float, float, float]  # left, top, right, bottom

RECALLS: tuple[float, ...] = tuple(np.linspace(0, 1, 101).tolist())

_IMAGE = 1
_MOST_DETECTIONS = 10_000  # of a class in a picture: more than there are, so that none is left out
_ANY_SIZE = [0, 1e10]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrueObject:
    """An object in a picture.

    `crowd` is COCO's term: the object cannot be recognised, so that it is neither expected nor counted as wrong.
    """

    label: int  # index of its class
    box: Box  # clipped to the picture, in its pixels
    crowd: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredBoxes:
    """n detections, in any order.

    Attributes:
        labels: int64 [n], indexes of the classes.
        scores: float64 [n], from 0 to 1.
        boxes: float64 [n, 4], (left, top, right, bottom) in pixels of the picture, clipped to it.
    """

    labels: NDArray[np.int64]
    scores: Floats
    boxes: Floats


def overlaps(found: ArrayLike, true: ArrayLike, crowd: Sequence[bool] | NDArray[np.bool_] = ()) -> Floats:
    """Intersection over union of boxes [n, 4] with boxes [m, 4], each (left, top, right, bottom): float64 [n, m].

    Where a true box is `crowd`, bool [m], the intersection is divided by the area of the found box, as in COCO.
    """
    found_boxes, true_boxes = (np.asarray(boxes, np.float64).reshape(-1, 4) for boxes in (found, true))
    result = iou(found_boxes, true_boxes)
    crowds = np.flatnonzero(crowd)
    result[:, crowds] = intersections(found_boxes, true_boxes[crowds]) / np.maximum(areas(found_boxes), 1e-6)[:, None]
    return result


def _with_size(boxes: Floats) -> Floats:
    """Boxes [n, 4]: (left, top, right, bottom) -> (left, top, width, height), as in COCO."""
    result: Floats = np.hstack((boxes[:, :2], boxes[:, 2:] - boxes[:, :2]))
    return result


def match(overlap: Floats, least: float) -> list[int | None]:
    """Match found boxes with true ones by their overlaps, float64 [found, true], in the order of the found ones.

    Each true box is matched once. The result has the index of the true box for each found one; None: no match.
    """
    free = np.ones(overlap.shape[1], bool)
    matched: list[int | None] = []
    for row in overlap:
        best = int(np.argmax(np.where(free, row, -1.0))) if free.any() else None
        if best is not None and row[best] >= least:
            free[best] = False
            matched.append(best)
        else:
            matched.append(None)
    return matched


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxClassMetrics:
    """Metrics of one class. A value is None where it is undefined: without true objects, or without detections.

    Attributes:
        things: true objects that are expected to be found.
        precision: at IoU 0.5 and the threshold, as is `recall`.
        ap50: average precision at IoU 0.5.
        ap: mean of the average precisions at IoU 0.5, 0.55, … 0.95.
        curve: precision at IoU 0.5 for each recall in RECALLS.
    """

    label: str
    things: int
    precision: float | None
    recall: float | None
    ap50: float | None
    ap: float | None
    curve: tuple[float, ...] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Matches:
    """n detections of one class, of one picture or of many, and how they match at each IoU."""

    scores: Floats  # [n]
    right: NDArray[np.bool_]  # [IoUs, n]
    ignored: NDArray[np.bool_]  # [IoUs, n]


@dataclass(slots=True)
class AveragePrecision:
    """Accumulator of each class's precision, recall and average precision."""

    labels: tuple[str, ...]
    most_detections: int = _MOST_DETECTIONS  # of a class in a picture, highest score first
    _expected: dict[int, int] = field(default_factory=dict)
    _matches: dict[int, list[_Matches]] = field(default_factory=dict)

    def add(self, true: Sequence[TrueObject], found: ScoredBoxes) -> None:
        """Add one picture."""
        if not len(found.labels):
            for item in true:
                self._expect(item.label, int(not item.crowd))
            return
        there = sorted({item.label for item in true} | set(found.labels.tolist()))
        evaluator = _evaluator(
            _coco(_true_annotations(true), there), _coco(_found_annotations(found), there), self.most_detections, there
        )
        with redirect_stdout(io.StringIO()):
            evaluator.evaluate()
        for label, image in zip(there, evaluator.evalImgs, strict=True):
            if image is not None:
                self._expect(label, int(np.count_nonzero(np.asarray(image["gtIgnore"]) == 0)))
                self._matches.setdefault(label, []).append(
                    _Matches(
                        scores=np.asarray(image["dtScores"], np.float64),
                        right=np.asarray(image["dtMatches"]) > 0,
                        ignored=np.asarray(image["dtIgnore"]) > 0,
                    )
                )

    def metrics(self, threshold: float) -> tuple[BoxClassMetrics, ...]:
        """Metrics of each class, in the order of the labels; precision and recall are of scores from `threshold` on."""
        joined = [_join(self._matches.get(label, ())) for label in range(len(self.labels))]
        precision = self._precision(joined)
        return tuple(
            _class_metrics(label, self._expected.get(number, 0), matches, precision[:, :, number], threshold)
            for number, (label, matches) in enumerate(zip(self.labels, joined, strict=True))
        )

    def _expect(self, label: int, count: int) -> None:
        self._expected[label] = self._expected.get(label, 0) + count

    def _precision(self, joined: Sequence[_Matches]) -> Floats:
        """[IoUs, recalls, classes]; -1 where a class has no true objects."""
        all_labels = list(range(len(self.labels)))
        most = max(1, *(len(matches.scores) for matches in joined))
        evaluator = _evaluator(_coco([], all_labels), _coco([], all_labels), most, all_labels)
        evaluator.params.imgIds = [_IMAGE]
        # what evaluate() leaves for accumulate(), as if all the pictures were one
        evaluator._paramsEval = evaluator.params
        evaluator.evalImgs = [
            {
                "dtScores": matches.scores,
                "dtMatches": matches.right,
                "dtIgnore": matches.ignored,
                "gtIgnore": np.zeros(self._expected.get(label, 0)),
            }
            for label, matches in enumerate(joined)
        ]
        with redirect_stdout(io.StringIO()):
            evaluator.accumulate()
        precision: Floats = evaluator.eval["precision"][:, :, :, 0, 0]
        return precision


def mean(values: Sequence[float | None]) -> float | None:
    """Mean of the values that are not None; None where all are."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _class_metrics(
    label: str, expected: int, matches: _Matches, precision: Floats, threshold: float
) -> BoxClassMetrics:
    """`precision` is [IoUs, recalls]."""
    counted = (matches.scores >= threshold) & ~matches.ignored[0]
    right = int(np.count_nonzero(counted & matches.right[0]))
    found = int(np.count_nonzero(counted))
    return BoxClassMetrics(
        label=label,
        things=expected,
        precision=right / found if found else None,
        recall=right / expected if expected else None,
        ap50=float(precision[0].mean()) if expected else None,
        ap=float(precision.mean()) if expected else None,
        curve=tuple(precision[0].tolist()) if expected else None,
    )


def _join(pictures: Sequence[_Matches]) -> _Matches:
    ious = len(COCOeval(iouType="bbox").params.iouThrs)
    none = np.zeros((ious, 0), bool)
    return _Matches(
        scores=np.concatenate([np.zeros(0), *(matches.scores for matches in pictures)]),
        right=np.concatenate([none, *(matches.right for matches in pictures)], axis=1),
        ignored=np.concatenate([none, *(matches.ignored for matches in pictures)], axis=1),
    )


def _true_annotations(objects: Sequence[TrueObject]) -> list[dict[str, Any]]:
    boxes = _with_size(np.array([item.box for item in objects], np.float64).reshape(-1, 4))
    return [
        {"category_id": item.label, "bbox": box, "area": box[2] * box[3], "iscrowd": int(item.crowd)}
        for item, box in zip(objects, boxes.tolist(), strict=True)
    ]


def _found_annotations(found: ScoredBoxes) -> list[dict[str, Any]]:
    rows = zip(found.labels.tolist(), found.scores.tolist(), _with_size(found.boxes).tolist(), strict=True)
    return [
        {"category_id": label, "bbox": box, "area": box[2] * box[3], "iscrowd": 0, "score": score}
        for label, score, box in rows
    ]


def _coco(annotations: list[dict[str, Any]], labels: Sequence[int]) -> Any:
    """COCO's index of one picture. Annotations are numbered from 1, since COCO takes an id of 0 for no match."""
    index = COCO()
    index.dataset = {
        "images": [{"id": _IMAGE}],
        "categories": [{"id": label} for label in labels],
        "annotations": [
            {**annotation, "id": number, "image_id": _IMAGE} for number, annotation in enumerate(annotations, 1)
        ],
    }
    with redirect_stdout(io.StringIO()):
        index.createIndex()
    return index


def _evaluator(true: Any, found: Any, most: int, labels: Sequence[int]) -> Any:
    evaluator = COCOeval(true, found, "bbox")
    evaluator.params.maxDets = [most]
    evaluator.params.areaRng, evaluator.params.areaRngLbl = [_ANY_SIZE], ["all"]
    evaluator.params.catIds = list(labels)
    return evaluator
