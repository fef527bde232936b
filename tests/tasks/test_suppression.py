"""Non-maximum suppression: the same boxes as torchvision's, ties, classes and limits."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.ops.boxes import _batched_nms_vanilla

from shardline.tasks.suppression import suppress

seeds = st.integers(0, 2**32 - 1)


def some_boxes(seed: int, count: int, classes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Boxes that overlap a lot, with scores of which many are equal."""
    random = np.random.default_rng(seed)
    corner, side = random.uniform(0, 40, (count, 2)), random.uniform(0, 30, (count, 2))
    boxes = np.hstack((corner, corner + side)).astype(np.float32)
    return boxes, (random.integers(0, 30, count) / 30).astype(np.float32), random.integers(0, classes, count)


@settings(deadline=None)
@given(seeds, st.integers(0, 120), st.sampled_from([1, 3]), st.sampled_from([0.0, 0.3, 0.5, 0.75, 1.0]))
def test_the_same_boxes_are_kept_as_by_torchvision(seed: int, count: int, classes: int, iou: float) -> None:
    boxes, scores, labels = some_boxes(seed, count, classes)

    kept = suppress(boxes, scores, labels, iou=iou, top=1000)

    expected = _batched_nms_vanilla(*map(torch.from_numpy, (boxes, scores, labels)), iou)
    assert sorted(kept.tolist()) == sorted(expected.tolist())
    assert (np.diff(scores[kept]) <= 0).all()
    assert suppress(boxes, scores, labels, iou=iou, top=5).tolist() == kept[:5].tolist()


def test_equal_scores_are_taken_by_index() -> None:
    boxes = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [50, 50, 60, 60]], np.float32)

    kept = suppress(boxes, np.full(3, 0.5, np.float32), np.zeros(3, np.int64), iou=0.5, top=10)

    assert kept.tolist() == [0, 2]


def test_only_boxes_of_the_same_class_are_suppressed() -> None:
    boxes = np.array([[0, 0, 10, 10]] * 3, np.float32)
    scores = np.array([0.9, 0.8, 0.7], np.float32)

    assert suppress(boxes, scores, np.array([4, 7, 4]), iou=0.5, top=10).tolist() == [0, 1]
    assert suppress(boxes, scores, np.array([4, 4, 4]), iou=1, top=10).tolist() == [0, 1, 2]


def test_no_boxes() -> None:
    nothing = suppress(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64), iou=0.5, top=10)

    assert nothing.shape == (0,)
