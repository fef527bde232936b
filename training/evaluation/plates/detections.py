"""What a detector gives -> boxes with a class and a score, in pixels of the picture, and what goes with what."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pycocotools import mask as coco_mask

from shardline.training.evaluation.difference import Outputs
from shardline.wire.view import View

Floats = NDArray[np.float64]

LEAST_SCORE = 0.01  # below it a detection changes no average precision, and there are thousands
_KINDS = ((0, 1), (3, 4), (5, 6))  # where boxes and scores of boards, groups and characters are among the outputs
_SIZES = (2, 4, 15)  # their classes, in the order of CLASSES


@dataclass(frozen=True, slots=True, kw_only=True)
class Detections:
    """n things, in any order."""

    labels: NDArray[np.int64]  # [n], indexes in CLASSES
    scores: Floats  # [n], 0 to 1
    boxes: Floats  # [n, 4]: left, top, right, bottom, cut to the picture, in its pixels


def detections(outputs: Outputs, view: View, least_score: float = LEAST_SCORE) -> Detections:
    """A detector's outputs for a batch of one (tasks/plates.py) -> each class at each peak that reaches the score."""
    arrays = list(outputs.values())
    labels, scores, boxes = [], [], []
    first = 0
    for (at_boxes, at_scores), classes in zip(_KINDS, _SIZES, strict=True):
        peaks, label = np.nonzero(arrays[at_scores][0] >= least_score)
        labels.append(label + first)
        scores.append(arrays[at_scores][0][peaks, label].astype(np.float64))
        boxes.append(arrays[at_boxes][0][peaks].astype(np.float64))
        first += classes
    corners = view.to_picture(np.concatenate(boxes).reshape(-1, 2, 2))
    inside = np.clip(corners, 0, (view.width, view.height)).reshape(-1, 4)
    return Detections(labels=np.concatenate(labels), scores=np.concatenate(scores), boxes=inside)


def overlaps(found: ArrayLike, true: ArrayLike, crowd: Sequence[bool] | NDArray[np.bool_] = ()) -> Floats:
    """Intersection over union of boxes [n, 4] with boxes [m, 4] (left, top, right, bottom) -> [n, m].

    Where a true one is `crowd`, over the found one's own area, as COCO has it.
    """
    found_boxes, true_boxes = (np.asarray(each, np.float64).reshape(-1, 4) for each in (found, true))
    if not len(found_boxes) or not len(true_boxes):
        return np.zeros((len(found_boxes), len(true_boxes)))
    flags = np.zeros(len(true_boxes), np.uint8)
    flags[: len(crowd)] = crowd
    result: Floats = np.asarray(coco_mask.iou(sized(found_boxes), sized(true_boxes), flags))
    return result


def sized(boxes: Floats) -> Floats:
    """Left, top, right, bottom -> left, top, width, height, as COCO has it."""
    result: Floats = np.hstack((boxes[:, :2], boxes[:, 2:] - boxes[:, :2]))
    return result


def match(overlap: Floats, least: float) -> list[int | None]:
    """Which true thing each found one is, by their overlaps [n, m], the best found ones first; each is taken once."""
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
