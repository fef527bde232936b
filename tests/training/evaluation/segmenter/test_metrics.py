"""Overlaps and accuracies by hand, with ignored pixels, pixels without a class, and classes that appear late."""

import numpy as np
import pytest

from shardline.training.evaluation.segmenter.metrics import SegmenterAccumulator
from shardline.wire.errors import DatasetError


def row(*values: int, dtype: type[np.integer] = np.uint8) -> np.ndarray:
    return np.array([values], dtype)


def test_metrics_by_hand() -> None:
    accumulator = SegmenterAccumulator("it")
    first = accumulator.add(row(0, 0, 0, 1, 255), row(0, 0, 1, 1, 1))
    second = accumulator.add(row(3, 3, 1, 0), row(3, 255, 3, 0))
    found = accumulator.metrics({0: "background", 3: "cat"})

    assert (first, second) == (0.75, 0.5)
    assert found.pixels == 8
    assert found.pixel_accuracy is not None
    assert found.pixel_accuracy.value == 5 / 8
    assert [entry.label for entry in found.classes] == ["background", "class 1", "cat"]
    assert [entry.iou.value for entry in found.classes if entry.iou] == [3 / 4, 1 / 3, 1 / 3]
    assert [entry.accuracy for entry in found.classes] == [3 / 4, 1 / 2, 1 / 2]
    assert [entry.precision for entry in found.classes] == [1, 1 / 2, 1 / 2]
    assert [entry.pixels for entry in found.classes] == [4, 2, 2]
    assert found.mean_iou is not None
    assert found.mean_iou.value == pytest.approx((3 / 4 + 2 / 3) / 3)
    assert found.mean_iou.low <= found.mean_iou.value <= found.mean_iou.high
    assert found.mean_accuracy == pytest.approx((3 / 4 + 1) / 3)
    assert found.confusion == ((3, 1, 0, 0), (0, 1, 1, 0), (0, 0, 1, 1))


def test_a_class_that_is_only_predicted_has_an_iou_of_0() -> None:
    accumulator = SegmenterAccumulator("it")
    accumulator.add(row(0, 0), row(0, 2))
    found = accumulator.metrics({})

    assert [(entry.index, entry.accuracy) for entry in found.classes] == [(0, 0.5), (2, None)]
    assert found.mean_iou is not None
    assert found.mean_iou.value == 0.25
    assert found.mean_accuracy == 0.5


def test_nothing_but_ignored_pixels() -> None:
    accumulator = SegmenterAccumulator("it")
    found_right = accumulator.add(row(255, 255), row(0, 1))
    found = accumulator.metrics({})

    assert found_right == 1
    assert (found.mean_iou, found.pixel_accuracy, found.mean_accuracy, found.pixels) == (None, None, None, 0)
    assert found.classes == ()


def test_wide_masks() -> None:
    """The highest value of 16 bits is no class, 255 is one where it is predicted."""
    accumulator = SegmenterAccumulator("it")
    accumulator.add(row(300, 300, dtype=np.int64), row(300, 65_535, dtype=np.uint16))

    assert accumulator.metrics({}).classes[0].accuracy == 0.5
    with pytest.raises(DatasetError, match="it predicts 2001 classes; a report takes at most 1000"):
        accumulator.add(row(0, dtype=np.int64), row(2000, dtype=np.uint16))
