"""Areas, intersections and IoU of boxes."""

import numpy as np
import pytest

from shardline.wire.boxes import areas, intersections, iou

BOXES = np.array(((0, 0, 4, 2), (2, 0, 6, 2), (10, 10, 11, 11), (0, 0, 0, 2)), np.float64)


def test_areas() -> None:
    assert areas(BOXES).tolist() == [8, 8, 1, 0]
    assert areas(np.array(((4.0, 0.0, 0.0, 2.0),))).tolist() == [0]


def test_intersections() -> None:
    assert intersections(BOXES[:2], BOXES).tolist() == [[8, 4, 0, 0], [4, 8, 0, 0]]


def test_iou() -> None:
    assert iou(BOXES[:1], BOXES).tolist() == [[1, 4 / 12, 0, 0]]


def test_boxes_without_an_area() -> None:
    assert iou(BOXES[3:], BOXES[3:]).tolist() == [[0]]


@pytest.mark.parametrize("count", [(0, 3), (2, 0), (0, 0)])
def test_no_boxes(count: tuple[int, int]) -> None:
    assert iou(np.zeros((count[0], 4)), np.zeros((count[1], 4))).shape == count


def test_dtype_is_kept() -> None:
    assert iou(BOXES, BOXES).dtype == np.float64
    assert iou(BOXES.astype(np.float32), BOXES.astype(np.float32)).dtype == np.float32
