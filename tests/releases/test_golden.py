"""Two replies compared: to the last digit, within a tolerance, or the first place where they differ."""

import copy
import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardline.releases.golden import TOLERANCE, compare, score_tolerance
from shardline.storage.bundle import Tolerance, parse_bundle
from shardline.wire.errors import ClusterError

REPLY = {
    "predictions": [
        {"label": "cat", "index": 3, "score": 0.5, "top": [{"label": "cat", "index": 3, "score": 0.5}]},
        {"label": "dog", "index": 4, "score": 0.25, "top": []},
    ]
}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda children: st.lists(children) | st.dictionaries(st.text(), children),
    max_leaves=20,
)


@given(JSON)
def test_a_reply_that_went_through_json_is_equal_to_the_last_digit(reply: object) -> None:
    assert compare(json.loads(json.dumps(reply)), reply).max_abs_difference == 0


def test_the_model_card_is_not_compared() -> None:
    assert compare({**REPLY, "model": {"weights": "random:0"}}, REPLY).max_abs_difference == 0


def test_what_it_says() -> None:
    assert str(compare(REPLY, REPLY)) == "equal to the whole model's reply, to the last digit"
    assert str(compare([0.5], [0.5000001])) == "equal to the whole model's reply within 1e-07 (0.001 is allowed)"


def test_the_largest_difference_counts() -> None:
    found = copy.deepcopy(REPLY)
    found["predictions"][0]["score"] = 0.50001
    found["predictions"][1]["score"] = 0.2502

    assert compare(found, REPLY).max_abs_difference == pytest.approx(0.0002)


def ranked(*classes: tuple[int, float]) -> dict[str, object]:
    top = [{"label": f"class {index}", "index": index, "score": score} for index, score in classes]
    return {"predictions": [{**top[0], "top": top}]}


def test_near_classes_may_change_places_where_the_bundle_allows_more() -> None:
    expected = ranked((3, 0.5), (4, 0.2), (5, 0.19))
    swapped = ranked((3, 0.51), (5, 0.2), (4, 0.2))

    assert compare(swapped, expected, 0.05).max_abs_difference == pytest.approx(0.01)
    with pytest.raises(ClusterError, match=r"top\[1\].label is 'class 5'"):
        compare(swapped, ranked((3, 0.51), (4, 0.2), (5, 0.2)))


@pytest.mark.parametrize(
    ("found", "where"),
    [
        (ranked((4, 0.5), (3, 0.2)), "predictions[0].label is 'class 4'"),
        (ranked((3, 0.5), (5, 0.3)), "top[1].score is 0.3"),
        (ranked((3, 0.5)), "top is"),
    ],
    ids=["another class first", "a score too far off", "a shorter ranking"],
)
def test_what_no_tolerance_allows(found: object, where: str) -> None:
    with pytest.raises(ClusterError) as caught:
        compare(found, ranked((3, 0.5), (4, 0.2)), 0.05)

    assert where in str(caught.value)


def neighbours(*rows: tuple[str, float], pred: str = "7") -> dict[str, object]:
    names, distances = [name for name, _ in rows], [distance for _, distance in rows]
    return {"predictions": [{"pred": pred, "dist": distances, "ids": names, "labels": [name[0] for name in names]}]}


def test_near_neighbours_may_change_places_where_the_bundle_allows_more() -> None:
    expected = neighbours(("7a", 0.0), ("7b", 0.5), ("1c", 0.501))
    found = neighbours(("7a", 0.001), ("1c", 0.502), ("7b", 0.503))

    assert compare(found, expected, tolerance=0.01).max_abs_difference == pytest.approx(0.002)
    for wrong in (found, neighbours(("7b", 0.0), ("7a", 0.5), ("1c", 0.501)), neighbours(("7a", 0.0), ("7b", 0.5))):
        with pytest.raises(ClusterError):
            compare(wrong, expected)
    with pytest.raises(ClusterError, match=r"ids\[0\] is '1c', expected '7a'"):
        compare(neighbours(("1c", 0.0), ("7a", 0.5), ("7b", 0.501)), expected, tolerance=0.01)
    with pytest.raises(ClusterError, match="pred is '1', expected '7'"):
        compare(neighbours(("7a", 0.0), ("7b", 0.5), ("1c", 0.501), pred="1"), expected, tolerance=0.01)


def test_a_distance_counts_by_how_long_the_embeddings_are() -> None:
    assert compare(neighbours(("a", 200.1)), neighbours(("a", 200.0))).max_abs_difference == pytest.approx(0.0005)
    with pytest.raises(ClusterError):
        compare(neighbours(("a", 0.1)), neighbours(("a", 0.0)))


def plate(**changes: object) -> dict[str, object]:
    found = {"type": "long", "sub_text": "12A", "main_text": "3456", "score": 0.9, "box": [10.0, 20.0, 90.5, 40.0]}
    return {"predictions": [[{**found, **changes}]]}


def test_a_place_may_be_off_by_a_thousand_times_as_many_pixels_as_a_score() -> None:
    moved = plate(box=[10.5, 20.0, 90.4, 40.0])

    assert compare(moved, plate()).max_abs_difference == pytest.approx(0.0005)
    with pytest.raises(ClusterError, match=r"box\[0\] is 11.5, expected 10.0"):
        compare(plate(box=[11.5, 20.0, 90.5, 40.0]), plate())
    with pytest.raises(ClusterError, match="main_text is '3457'"):
        compare(plate(main_text="3457"), plate(), 1.0)


@pytest.mark.parametrize(
    ("precision", "portable", "compiled", "allowed"),
    [
        ("fp32", None, None, TOLERANCE),
        ("fp32", None, 1e-4, TOLERANCE),
        ("bf16", 0.01, None, 0.1),
        ("bf16", 0.01, 0.02, 0.2),
        ("bf16", 0.5, None, 1.0),
    ],
)
def test_the_bundle_says_how_far_a_score_may_be_off(
    precision: str, portable: float | None, compiled: float | None, allowed: float
) -> None:
    def tolerance(error: float | None) -> Tolerance | None:
        return None if error is None else Tolerance(max_relative_error=error, top1_agreement=0.9)

    example = parse_bundle((Path(__file__).parents[2] / "manifests/resnet50/bundle.json").read_bytes())
    bundle = replace(
        example,
        schema_version=2,
        precision=precision,
        portable_tolerance=tolerance(portable),
        compiled_tolerance=tolerance(compiled),
    )

    assert score_tolerance(bundle) == pytest.approx(allowed)


@pytest.mark.parametrize(
    ("found", "expected", "where"),
    [
        ([0.5 + 2 * TOLERANCE], [0.5], "reply[0] is 0.502, expected 0.5"),
        ([float("nan")], [0.5], "reply[0] is nan"),
        ({"label": "cat"}, {"label": "dog"}, "reply.label is 'cat', expected 'dog'"),
        ({"index": 3}, {"index": 4}, "reply.index is 3"),
        ([1], [True], "reply[0] is 1, expected True"),
        ([1], [1.0], "reply[0] is 1, expected 1.0"),
        ([1, 2], [1], "reply is [1, 2]"),
        ({"a": 1}, {"b": 1}, "reply is {'a': 1}"),
        (None, {"predictions": []}, "reply is None"),
    ],
)
def test_the_first_difference_is_named(found: object, expected: object, where: str) -> None:
    with pytest.raises(ClusterError) as caught:
        compare(found, expected)

    assert where in str(caught.value)
