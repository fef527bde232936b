"""Greedy non-maximum suppression (NMS) of scored boxes, per class, as torchvision's `batched_nms` does it."""

import numpy as np
from numpy.typing import NDArray


def suppress(
    boxes: NDArray[np.float32],
    scores: NDArray[np.float32],
    classes: NDArray[np.int64],
    *,
    iou: float,
    top: int,
) -> NDArray[np.int64]:
    """Select the boxes that overlap no box of the same class with a higher score, highest score first.

    Boxes are taken in the order of their scores, of equal scores the one with the lower index first. A box that is kept
    suppresses every later box of its class whose intersection over union with it is above `iou`. IoU is computed in
    float32 in torchvision's order of operations, so that both keep the same boxes. The work is at most `top` times the
    number of boxes.

    Args:
        boxes: float32 [n, 4], (left, top, right, bottom).
        scores: float32 [n].
        classes: int64 [n].
        iou: from 0 to 1; 1 suppresses nothing.
        top: largest number of boxes to keep.

    Returns:
        Indexes in `boxes`, int64 [kept], kept ≤ top.
    """
    order = np.argsort(-scores, kind="stable")
    boxes, classes = boxes[order], classes[order]
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    members = {label: np.flatnonzero(classes == label) for label in np.unique(classes).tolist()}
    suppressed = np.zeros(len(boxes), bool)
    kept: list[int] = []
    for index, label in enumerate(classes.tolist()):
        if len(kept) == top:
            break
        if suppressed[index]:
            continue
        kept.append(index)
        later = members[label][np.searchsorted(members[label], index) + 1 :]
        suppressed[later[_overlaps(boxes, areas, index, later) > np.float64(iou)]] = True
    return order[np.array(kept, np.int64)]


def _overlaps(
    boxes: NDArray[np.float32], areas: NDArray[np.float32], index: int, others: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Intersection over union of the box at `index` with `others`, float32 [others]; NaN for two boxes of no area."""
    low = np.maximum(boxes[index, :2], boxes[others, :2])
    high = np.minimum(boxes[index, 2:], boxes[others, 2:])
    sides = np.maximum(high - low, np.float32(0))
    shared = sides[:, 0] * sides[:, 1]
    with np.errstate(invalid="ignore", divide="ignore"):
        result: NDArray[np.float32] = shared / (areas[index] + areas[others] - shared)
    return result
