"""Precision, recall, F1 and curves as in scikit-learn, bootstrap intervals, and classes found by their labels."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from services.knowing_classifier import ANIMALS
from sklearn.metrics import precision_recall_fscore_support

from shardline.training.evaluation.classifier.metrics import (
    GRID,
    class_curves,
    class_rates,
    macro_and_f1,
    model_classes,
)
from shardline.wire.errors import DatasetError

# what three classes are said to be, or another; of each there is a picture
matrices = arrays(np.int64, (3, 4), elements=st.integers(0, 5)).filter(lambda counts: bool(counts.sum(axis=1).all()))


def test_by_hand() -> None:
    """Three of four cats are found, and one of two dogs is predicted to be a cat."""
    counts = np.array([[3, 0, 1], [1, 1, 0]])
    averages, f1 = macro_and_f1(counts)

    assert class_rates(counts).precision.tolist() == [0.75, 1.0]
    assert class_rates(counts).recall.tolist() == [0.75, 0.5]
    assert [each.value for each in f1] == pytest.approx([0.75, 2 / 3])
    assert averages.precision.value == 0.875
    assert averages.recall.value == 0.625
    assert averages.f1.value == pytest.approx((0.75 + 2 / 3) / 2)


@settings(max_examples=100, deadline=None)
@given(matrices)
def test_rates_equal_scikit_learn_s(counts: np.ndarray) -> None:
    places = np.argwhere(counts)
    pairs = np.repeat(places, counts[tuple(places.T)], axis=0)
    labels = list(range(len(counts)))
    expected = precision_recall_fscore_support(pairs[:, 0], pairs[:, 1], labels=labels, zero_division=0)
    found = class_rates(counts)

    for mine, theirs in zip((found.precision, found.recall, found.f1), expected, strict=False):
        assert np.nan_to_num(mine) == pytest.approx(theirs)
    assert found.macro() == pytest.approx(np.mean(expected[:3], axis=1))


def test_intervals_narrow_with_more_pictures_and_do_not_change() -> None:
    few = np.array([[8, 2, 0], [1, 9, 0]])
    averages, f1 = macro_and_f1(few)
    many, _ = macro_and_f1(100 * few)

    assert macro_and_f1(few) == (averages, f1)
    for narrow, wide in ((many.f1, averages.f1), (many.precision, averages.precision), (many.recall, averages.recall)):
        assert narrow.value == pytest.approx(wide.value)
        assert wide.low < narrow.low < narrow.value < narrow.high < wide.high
        assert narrow.high - narrow.low == pytest.approx((wide.high - wide.low) / 10, rel=0.25)


def test_an_interval_is_as_wide_as_in_theory() -> None:
    """Of two classes with 500 pictures each, 80 % are right: recall's standard error is about √(0.16 / 1000)."""
    recall = macro_and_f1(np.array([[400, 100, 0], [100, 400, 0]]))[0].recall

    assert recall.high - recall.low == pytest.approx(2 * 1.96 * np.sqrt(0.16 / 1000), rel=0.1)


def test_a_class_that_is_rarely_resampled() -> None:
    """A resample without a picture of the class is left out of its interval."""
    _, f1 = macro_and_f1(np.array([[200, 0, 0], [0, 1, 0]]))

    assert (f1[1].low, f1[1].value, f1[1].high) == (1, 1, 1)


def test_curves_by_hand() -> None:
    """Of five pictures by score, the first, the third and the last are of the class."""
    found = class_curves(np.array([True, False, True, False, True]), np.array([0.9, 0.8, 0.7, 0.6, 0.5]))
    assert found is not None
    at = {recall: found.precision[GRID.index(recall)] for recall in (0.0, 0.3, 0.5, 1.0)}

    assert at == {0.0: 1, 0.3: 1, 0.5: pytest.approx(2 / 3), 1.0: pytest.approx(3 / 5)}
    assert found.average_precision == pytest.approx((1 + 2 / 3 + 3 / 5) / 3)
    # of the six pairs of one of the class and another, three are in the right order
    assert found.roc_auc == pytest.approx(3 / 6)
    assert (found.roc[0], found.roc[49], found.roc[50], found.roc[-1]) == pytest.approx((1 / 3, 1 / 3, 2 / 3, 1))


@pytest.mark.parametrize(("sign", "area"), [(1, 1), (-1, 0)])
def test_curves_of_scores_in_order_and_reversed(sign: int, area: int) -> None:
    true = np.array([True] * 4 + [False] * 6)
    found = class_curves(true, sign * true.astype(float))

    assert found is not None
    assert found.roc_auc == area
    assert found.average_precision == pytest.approx(1 if sign == 1 else 0.4)


def test_one_class_alone_has_no_curve() -> None:
    assert class_curves(np.array([True, True]), np.array([0.5, 0.6])) is None
    assert class_curves(np.array([False, False]), np.array([0.5, 0.6])) is None


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5)), min_size=2, max_size=30))
def test_curves_are_monotonous(pictures: list[tuple[bool, int]]) -> None:
    found = class_curves(np.array([each for each, _ in pictures]), np.array([score / 5 for _, score in pictures]))
    if found is None:
        return

    assert len(found.precision) == len(found.roc) == len(GRID)
    assert np.all(np.diff(found.precision) <= 0)
    assert np.all(np.diff(found.roc) >= 0)
    assert found.roc[-1] == 1
    assert found.precision[-1] == pytest.approx(np.mean([each for each, _ in pictures]), abs=1)
    assert 0 <= found.roc_auc <= 1


def test_labels_are_found_by_name_and_by_number() -> None:
    assert model_classes(["cat", "ant"], ANIMALS).tolist() == [2, 0]
    assert model_classes(["0", "05"], ANIMALS).tolist() == [0, 5]
    assert model_classes(["1", "0"], ("0", "1")).tolist() == [1, 0]
    with pytest.raises(DatasetError, match="folder 'cow' does not match any class of the model: allowed are ant, bee"):
        model_classes(["cow"], ANIMALS)
    with pytest.raises(DatasetError, match="folder '6' does not match any class"):
        model_classes(["6"], ANIMALS)
    with pytest.raises(DatasetError, match="2 of the model's classes are called 'crane'"):
        model_classes(["crane"], ("crane", "crane"))
    with pytest.raises(DatasetError, match="the folders 2, cat are the same class"):
        model_classes(["2", "ant", "cat"], ANIMALS)
