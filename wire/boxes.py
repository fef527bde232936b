"""Upright boxes as arrays: areas, intersections and intersection over union (IoU).

A box is (left, top, right, bottom). All functions keep the dtype of their arguments. This module stands in wire,
so that the client, which has neither the tasks nor torch, computes overlaps as the servers do.
"""

from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Floats = TypeVar("Floats", bound=np.floating[Any])

_LEAST_UNION = 1e-6  # two boxes of no area are divided by this, and have an IoU of 0


def areas(boxes: NDArray[Floats]) -> NDArray[Floats]:
    """Areas of boxes, float [n, 4] -> [n]; 0 where right is left of left, or bottom above top."""
    result: NDArray[Floats] = np.clip(boxes[:, 2:] - boxes[:, :2], 0, None).prod(1)
    return result


def intersections(first: NDArray[Floats], second: NDArray[Floats]) -> NDArray[Floats]:
    """Areas that each two boxes share, float [n, 4] and [m, 4] -> [n, m]."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    result: NDArray[Floats] = np.clip(high - low, 0, None).prod(2)
    return result


def iou(first: NDArray[Floats], second: NDArray[Floats]) -> NDArray[Floats]:
    """Intersection over union of each two boxes, float [n, 4] and [m, 4] -> [n, m], from 0 to 1."""
    shared = intersections(first, second)
    union = areas(first)[:, None] + areas(second)[None] - shared
    result: NDArray[Floats] = shared / np.maximum(union, _LEAST_UNION)
    return result
