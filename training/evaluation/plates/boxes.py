"""Metrics of a plate detector's boxes: precision, recall and average precision of each class, and confusion.

Average precision is by COCO's own evaluator, which expects all the pictures at once. Here it matches the boxes of one
picture at a time, and of each class only the detections' scores and whether they were right are kept: 21 bytes a
detection. From these it computes the figures of all the pictures together, as it would have. Its progress messages are
discarded.
"""

import io
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from shardline.partition.compare import Outputs
from shardline.tasks.plates.text import CLASSES
from shardline.wire.boxes import areas, intersections, iou
from shardline.wire.view import View

if TYPE_CHECKING:
    from shardline.training.evaluation.plates.pictures import TrueObject

Floats = NDArray[np.float64]

LEAST_SCORE = 0.01  # detections below it, of which there are thousands, change no average precision
RECALLS: tuple[float, ...] = tuple(np.linspace(0, 1, 101).tolist())
FIRST_CHARACTER = CLASSES.index("0")
CHARACTERS = tuple(name.upper() for name in CLASSES[FIRST_CHARACTER:])

# positions of boxes and of scores of boards, groups and characters among the outputs
_OUTPUTS = ((0, 1), (3, 4), (5, 6))
_CLASS_COUNTS = (2, 4, 15)  # classes of each of these, in the order of CLASSES
_NOTHING = len(CHARACTERS)  # row and column of the confusion matrix
_LEAST_OVERLAP = 0.5  # IoU
_IMAGE = 1
_MOST_DETECTIONS = 10_000  # of a class in a picture: more than there are, so that none is left out
_ANY_SIZE = [0, 1e10]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredBoxes:
    """n detections, in any order.

    Attributes:
        labels: int64 [n], indexes in CLASSES.
        scores: float64 [n], from 0 to 1.
        boxes: float64 [n, 4], (left, top, right, bottom) in pixels of the picture, clipped to it.
    """

    labels: NDArray[np.int64]
    scores: Floats
    boxes: Floats


def scored_boxes(outputs: Outputs, view: View, least_score: float = LEAST_SCORE) -> ScoredBoxes:
    """Read a detector's outputs for a batch of one: each class at each peak that reaches the score.

    Args:
        outputs: float32 [1, n, 4] boxes and [1, n, classes] scores, in the order of tasks/plates/detections.py.
    """
    arrays = list(outputs.values())
    labels, scores, boxes = [], [], []
    first = 0
    for (boxes_at, scores_at), classes in zip(_OUTPUTS, _CLASS_COUNTS, strict=True):
        peaks, label = np.nonzero(arrays[scores_at][0] >= least_score)
        labels.append(label + first)
        scores.append(arrays[scores_at][0][peaks, label].astype(np.float64))
        boxes.append(arrays[boxes_at][0][peaks].astype(np.float64))
        first += classes
    corners = view.to_picture(np.concatenate(boxes).reshape(-1, 2, 2))
    inside = np.clip(corners, 0, (view.width, view.height)).reshape(-1, 4)
    return ScoredBoxes(labels=np.concatenate(labels), scores=np.concatenate(scores), boxes=inside)


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


@dataclass(slots=True)
class CharacterConfusion:
    """Accumulator of the confusion matrix of characters, int64 [characters + 1, characters + 1].

    A row for each drawn character and a last one for nothing, a column for what is found there. At each position the
    class with the highest score counts, if it reaches the threshold. Crowd objects and what is found on them are
    ignored.
    """

    counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros((_NOTHING + 1, _NOTHING + 1), np.int64))

    def add(self, true: "Sequence[TrueObject]", found: ScoredBoxes, threshold: float) -> None:
        """Add one picture."""
        labels, boxes = _best_characters(found, threshold)
        characters = [item for item in true if item.label >= FIRST_CHARACTER]
        expected = [item for item in characters if not item.crowd]
        crowd = [item for item in characters if item.crowd]
        matched = match(overlaps(boxes, [item.box for item in expected]), _LEAST_OVERLAP)
        on_crowd = overlaps(boxes, [item.box for item in crowd], [True] * len(crowd)).max(axis=1, initial=0.0)
        for label, index, covered in zip(labels.tolist(), matched, on_crowd.tolist(), strict=True):
            if index is not None:
                self.counts[expected[index].label - FIRST_CHARACTER, label - FIRST_CHARACTER] += 1
            elif covered < _LEAST_OVERLAP:
                self.counts[_NOTHING, label - FIRST_CHARACTER] += 1
        for index in set(range(len(expected))) - set(matched):
            self.counts[expected[index].label - FIRST_CHARACTER, _NOTHING] += 1


def _best_characters(found: ScoredBoxes, threshold: float) -> tuple[NDArray[np.int64], Floats]:
    """Labels [n] and boxes [n, 4] of the characters, highest score first, each position once."""
    chosen = np.flatnonzero((found.labels >= FIRST_CHARACTER) & (found.scores >= threshold))
    chosen = chosen[np.argsort(-found.scores[chosen], kind="stable")]
    _, first = np.unique(found.boxes[chosen], axis=0, return_index=True)
    chosen = chosen[np.sort(first)]
    return found.labels[chosen], found.boxes[chosen]


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

    _expected: list[int] = field(default_factory=lambda: [0] * len(CLASSES))
    _matches: list[list[_Matches]] = field(default_factory=lambda: [[] for _ in CLASSES])

    def add(self, true: "Sequence[TrueObject]", found: ScoredBoxes) -> None:
        """Add one picture."""
        if not len(found.labels):
            for item in true:
                self._expected[item.label] += not item.crowd
            return
        evaluator = _evaluator(_coco(_true_annotations(true)), _coco(_found_annotations(found)))
        with redirect_stdout(io.StringIO()):
            evaluator.evaluate()
        for label, image in enumerate(evaluator.evalImgs):
            if image is not None:
                self._expected[label] += int(np.count_nonzero(np.asarray(image["gtIgnore"]) == 0))
                self._matches[label].append(
                    _Matches(
                        scores=np.asarray(image["dtScores"], np.float64),
                        right=np.asarray(image["dtMatches"]) > 0,
                        ignored=np.asarray(image["dtIgnore"]) > 0,
                    )
                )

    def metrics(self, threshold: float) -> tuple[BoxClassMetrics, ...]:
        """Metrics of each class, in the order of CLASSES."""
        joined = [_join(matches) for matches in self._matches]
        precision = self._precision(joined)
        return tuple(
            _class_metrics(label, expected, matches, precision[:, :, number], threshold)
            for number, (label, expected, matches) in enumerate(zip(CLASSES, self._expected, joined, strict=True))
        )

    def _precision(self, joined: Sequence[_Matches]) -> Floats:
        """[IoUs, recalls, classes]; -1 where a class has no true objects."""
        evaluator = _evaluator(_coco([]), _coco([]))
        evaluator.params.imgIds = [_IMAGE]
        evaluator.params.maxDets = [max(1, *(len(matches.scores) for matches in joined))]
        # what evaluate() leaves for accumulate(), as if all the pictures were one
        evaluator._paramsEval = evaluator.params
        evaluator.evalImgs = [
            {
                "dtScores": matches.scores,
                "dtMatches": matches.right,
                "dtIgnore": matches.ignored,
                "gtIgnore": np.zeros(expected),
            }
            for expected, matches in zip(self._expected, joined, strict=True)
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


def _true_annotations(objects: "Sequence[TrueObject]") -> list[dict[str, Any]]:
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


def _coco(annotations: list[dict[str, Any]]) -> Any:
    """COCO's index of one picture. Annotations are numbered from 1, since COCO takes an id of 0 for no match."""
    index = COCO()
    index.dataset = {
        "images": [{"id": _IMAGE}],
        "categories": [{"id": number} for number in range(len(CLASSES))],
        "annotations": [
            {**annotation, "id": number, "image_id": _IMAGE} for number, annotation in enumerate(annotations, 1)
        ],
    }
    with redirect_stdout(io.StringIO()):
        index.createIndex()
    return index


def _evaluator(true: Any, found: Any) -> Any:
    evaluator = COCOeval(true, found, "bbox")
    evaluator.params.maxDets = [_MOST_DETECTIONS]
    evaluator.params.areaRng, evaluator.params.areaRngLbl = [_ANY_SIZE], ["all"]
    evaluator.params.catIds = list(range(len(CLASSES)))
    return evaluator
