"""Proportions with Wilson's interval, calibration, differences between sources, and their JSON form."""

import math

import numpy as np
import pytest

from shardline.training.evaluation.metrics import (
    MOST_NAMES,
    Calibration,
    SourceComparison,
    proportion,
    to_json,
)


def test_a_proportion_has_wilson_s_interval() -> None:
    """Of 8 out of 10: 0.490 to 0.943, as in Agresti and Coull's tables and every calculator."""
    found = proportion("all", 8, 10)

    assert found.share == 0.8
    assert found.low == pytest.approx(0.4902, abs=1e-4)
    assert found.high == pytest.approx(0.9433, abs=1e-4)


def test_without_cases_there_is_no_proportion() -> None:
    found = proportion("none", 0, 0)

    assert (found.share, found.low, found.high) == (None, None, None)


def test_calibration_by_hand() -> None:
    """Two at 0.95, one of them right: 0.45 off. Three at 0.55, of which two are right: 0.55 and 2/3 are 0.117 apart."""
    calibration = Calibration()
    for score, right in [(0.95, True), (0.95, False), (0.55, True), (0.55, True), (0.55, False)]:
        calibration.add(score, right=right)
    found = calibration.metrics()

    assert found.count == 5
    assert found.error == pytest.approx((2 * 0.45 + 3 * (2 / 3 - 0.55)) / 5)
    assert [score_bin.count for score_bin in found.bins] == [0, 0, 0, 0, 0, 3, 0, 0, 0, 2]


def test_a_score_of_one_is_in_the_last_bin() -> None:
    calibration = Calibration()
    calibration.add(1.0, right=False)

    assert calibration.metrics().bins[-1].count == 1
    assert calibration.metrics().error == 1
    assert Calibration().metrics().error is None


def test_differences_of_a_source_from_the_first() -> None:
    comparison = SourceComparison("other")
    first = {"logits": np.array([1.0, 2.0], np.float32)}
    comparison.add("a", first, first, same=True)
    comparison.add("b", {"logits": np.array([1.0, 2.5], np.float32)}, first, same=False)
    comparison.add("c", None, first, same=True)
    found = comparison.difference()

    assert (found.pictures, found.equal, found.max_abs_difference, found.same) == (3, 1, 0.5, 2)
    assert found.others == ("b",)


@pytest.mark.parametrize(
    "found", [{}, {"logits": np.zeros(3)}, {"logits": np.array([np.nan, 0.0])}], ids=["missing", "shape", "nan"]
)
def test_outputs_that_cannot_be_compared_differ_infinitely(found: dict[str, np.ndarray]) -> None:
    comparison = SourceComparison("other")
    comparison.add("a", found, {"logits": np.zeros(2)}, same=True)

    assert comparison.difference().max_abs_difference == math.inf


def test_at_most_a_hundred_names_are_listed() -> None:
    comparison = SourceComparison("other")
    for number in range(MOST_NAMES + 5):
        comparison.add(str(number), None, None, same=False)

    assert len(comparison.difference().others) == MOST_NAMES
    assert comparison.difference().equal is None


def test_json_has_the_keys_of_the_task() -> None:
    document = to_json({"all": [proportion("all", 1, 1)]}, {"count": "pictures"})

    assert document["all"][0]["pictures"] == 1
    assert document["all"][0]["right"] == 1
    assert "count" not in document["all"][0]
