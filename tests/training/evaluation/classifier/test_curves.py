"""A class against all others, by hand and at the ends."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shardline.training.evaluation.classifier.curves import GRID, curves


def test_by_hand() -> None:
    """Of three, the first and the third surest are of the class, the last one too; between them are two others."""
    found = curves(np.array([True, False, True, False, True]), np.array([0.9, 0.8, 0.7, 0.6, 0.5]))
    assert found is not None
    at = {recall: found.precision[GRID.index(recall)] for recall in (0.0, 0.3, 0.5, 1.0)}

    assert at == {0.0: 1, 0.3: 1, 0.5: pytest.approx(2 / 3), 1.0: pytest.approx(3 / 5)}
    assert found.average_precision == pytest.approx((1 + 2 / 3 + 3 / 5) / 3)
    # of the six pairs of one of the class and another, three are in the right order
    assert found.roc_auc == pytest.approx(3 / 6)
    assert (found.roc[0], found.roc[49], found.roc[50], found.roc[-1]) == pytest.approx((1 / 3, 1 / 3, 2 / 3, 1))


@pytest.mark.parametrize(("sign", "area"), [(1, 1), (-1, 0)])
def test_all_in_order_or_none(sign: int, area: int) -> None:
    true = np.array([True] * 4 + [False] * 6)
    found = curves(true, sign * true.astype(float))

    assert found is not None
    assert found.roc_auc == area
    assert found.average_precision == pytest.approx(1 if sign == 1 else 0.4)


def test_without_others_there_is_no_curve() -> None:
    assert curves(np.array([True, True]), np.array([0.5, 0.6])) is None
    assert curves(np.array([False, False]), np.array([0.5, 0.6])) is None


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5)), min_size=2, max_size=30))
def test_curves_are_monotonous(pictures: list[tuple[bool, int]]) -> None:
    found = curves(np.array([each for each, _ in pictures]), np.array([score / 5 for _, score in pictures]))
    if found is None:
        return

    assert len(found.precision) == len(found.roc) == len(GRID)
    assert np.all(np.diff(found.precision) <= 0)
    assert np.all(np.diff(found.roc) >= 0)
    assert found.roc[-1] == 1
    assert found.precision[-1] == pytest.approx(np.mean([each for each, _ in pictures]), abs=1)
    assert 0 <= found.roc_auc <= 1
