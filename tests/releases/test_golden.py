"""Two replies compared: to the last digit, within a tolerance, or the first place where they differ."""

import copy
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from releases.golden import TOLERANCE, compare
from wire.errors import ClusterError

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


def test_what_it_says() -> None:
    assert str(compare(REPLY, REPLY)) == "equal to the whole model's reply, to the last digit"
    assert str(compare([0.5], [0.5000001])) == "as the whole model's reply within 1e-07"


def test_the_largest_difference_counts() -> None:
    found = copy.deepcopy(REPLY)
    found["predictions"][0]["score"] = 0.50001
    found["predictions"][1]["score"] = 0.2502

    assert compare(found, REPLY).max_abs_difference == pytest.approx(0.0002)


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
