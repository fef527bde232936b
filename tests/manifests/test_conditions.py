"""The part of GJSON that the built-in router reads, and what it refuses; KServe's binary gets the same conditions."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from services.routers import sequence

from shardline.manifests.conditions import parse_body, parse_condition
from shardline.manifests.graph import OTHER_ROUTER, parse_spec
from shardline.wire.errors import ManifestError

X = {"serviceUrl": "http://x"}


@pytest.mark.parametrize(
    ("condition", "rest"),
    [
        ("a.*", "*"),
        ("a|b", "|b"),
        ("@reverse.0", "@reverse.0"),
        ("predictions.#", "#"),
        ('p.#(a=="b")#', "#"),
        ('p.#(a%"b*")', '#(a%"b*")'),
        ('p.#(a=="~true")', '#(a=="~true")'),
        ("p.#(a.#(b==1))", "#(a.#(b==1))"),
        ("{a,b}", "{a,b}"),
        ("[@this]", "[@this]"),
        ("a.", ""),
        ("é", "é"),
    ],
)
def test_a_condition_that_it_cannot_read_is_refused_at_the_start(condition: str, rest: str) -> None:
    with pytest.raises(ManifestError) as caught:
        parse_spec({"nodes": {"root": sequence(X, {**X, "condition": condition})}})

    assert str(caught.value) == (
        f"the graph's node root, step 1, has the condition {condition!r}: this router supports names, numbers and "
        f"#(name==value), not {rest!r}: {OTHER_ROUTER}"
    )


@given(st.text(alphabet='ab01.#()=<>!"~ \\@[]this', max_size=30))
def test_a_condition_is_read_or_refused(text: str) -> None:
    with suppress(ValueError):
        parse_condition(text).holds(parse_body(b'{"a": [1, {"b": "x"}]}'))
