"""Precision, recall and F1 as scikit-learn has them, and intervals that hold what they should."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import precision_recall_fscore_support

from shardline.training.evaluation.classifier.averages import macro_and_f1, micro, rates
from shardline.training.evaluation.share import share

# what three classes are said to be, or another; of each there is a picture
matrices = arrays(np.int64, (3, 4), elements=st.integers(0, 5)).filter(lambda counts: bool(counts.sum(axis=1).all()))


def test_by_hand() -> None:
    """Of four cats three are found, and one of two dogs is called a cat."""
    counts = np.array([[3, 0, 1], [1, 1, 0]])
    averages, f1 = macro_and_f1(counts)

    assert rates(counts).precision.tolist() == [0.75, 1.0]
    assert rates(counts).recall.tolist() == [0.75, 0.5]
    assert [each.value for each in f1] == pytest.approx([0.75, 2 / 3])
    assert averages.precision.value == 0.875
    assert averages.recall.value == 0.625
    assert averages.f1.value == pytest.approx((0.75 + 2 / 3) / 2)


@settings(max_examples=100, deadline=None)
@given(matrices)
def test_as_scikit_learn_has_it(counts: np.ndarray) -> None:
    places = np.argwhere(counts)
    pairs = np.repeat(places, counts[tuple(places.T)], axis=0)
    labels = list(range(len(counts)))
    expected = precision_recall_fscore_support(pairs[:, 0], pairs[:, 1], labels=labels, zero_division=0)
    found = rates(counts)

    for mine, theirs in zip((found.precision, found.recall, found.f1), expected, strict=False):
        assert np.nan_to_num(mine) == pytest.approx(theirs)
    assert found.averages() == pytest.approx(np.mean(expected[:3], axis=1))


def test_intervals_narrow_with_more_pictures_and_do_not_change() -> None:
    few = np.array([[8, 2, 0], [1, 9, 0]])
    averages, f1 = macro_and_f1(few)
    many, _ = macro_and_f1(100 * few)

    assert macro_and_f1(few) == (averages, f1)
    for narrow, wide in ((many.f1, averages.f1), (many.precision, averages.precision), (many.recall, averages.recall)):
        assert narrow.value == pytest.approx(wide.value)
        assert wide.low < narrow.low < narrow.value < narrow.high < wide.high
        assert narrow.high - narrow.low == pytest.approx((wide.high - wide.low) / 10, rel=0.25)


def test_an_interval_is_as_wide_as_theory_has_it() -> None:
    """Of two classes with 500 pictures each, 80 % are right: recall's standard error is √(0.16 / 1000), near enough."""
    recall = macro_and_f1(np.array([[400, 100, 0], [100, 400, 0]]))[0].recall

    assert recall.high - recall.low == pytest.approx(2 * 1.96 * np.sqrt(0.16 / 1000), rel=0.1)


def test_a_class_that_is_hardly_ever_drawn() -> None:
    """Without a picture of it in a draw, the draw says nothing of it."""
    _, f1 = macro_and_f1(np.array([[200, 0, 0], [0, 1, 0]]))

    assert (f1[1].low, f1[1].value, f1[1].high) == (1, 1, 1)


def test_micro_is_the_share_of_right_answers() -> None:
    averages = micro(share("top-1", 8, 10))

    assert averages is not None
    assert averages.precision == averages.recall == averages.f1
    assert (averages.f1.value, averages.f1.low) == (0.8, pytest.approx(0.4902, abs=1e-4))
    assert micro(share("top-1", 0, 0)) is None
