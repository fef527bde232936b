"""JSON values as typed dataclasses: what fits, and one line for what does not."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardline.wire.errors import BundleError
from shardline.wire.typed import from_json, is_relative_path, typed


@dataclass(frozen=True, slots=True, kw_only=True)
class Inner:
    ratio: float
    kind: Literal["small", "large"] = "small"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outer:
    names: tuple[str, ...]
    inner: Inner
    by_name: Mapping[str, Inner]
    size: int | str
    label: str | None = None


DOCUMENT: dict[str, Any] = {
    "names": ["a", "b"],
    "inner": {"ratio": 2},
    "by_name": {"x": {"ratio": 0.5, "kind": "large"}},
    "size": "batch",
}
FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "missing field": ({"inner": {}}, "inner lacks ['ratio']"),
    "unknown field": ({"more": 1}, "it has the unknown ['more']"),
    "bool for a number": ({"inner": {"ratio": True}}, "inner.ratio is bool, not float"),
    "text for a list": ({"names": "ab"}, "names is str, not list"),
    "number in a list of texts": ({"names": ["a", 1]}, "names[1] is int, not str"),
    "in a mapping": ({"by_name": {"x": {"ratio": "1"}}}, "by_name['x'].ratio is str, not float"),
    "not one of a union": ({"size": 1.5}, "size is float, not int or str"),
    "not one of a literal": ({"inner": {"ratio": 1, "kind": "huge"}}, "inner.kind is 'huge', not one of small, large"),
    "null": ({"inner": None}, "inner is NoneType, not dict"),
}


def test_a_document() -> None:
    outer = typed(Outer, DOCUMENT, error=BundleError)

    assert outer == Outer(
        names=("a", "b"), inner=Inner(ratio=2), by_name={"x": Inner(ratio=0.5, kind="large")}, size="batch"
    )


def test_nothing_is_converted() -> None:
    """A whole number stays one, so that the document can be written back byte for byte."""
    assert json.dumps(asdict(typed(Inner, {"ratio": 2}, error=BundleError))) == '{"ratio": 2, "kind": "small"}'


@pytest.mark.parametrize(("change", "message"), FAULTS.values(), ids=FAULTS.keys())
def test_faults(change: dict[str, Any], message: str) -> None:
    with pytest.raises(BundleError) as raised:
        typed(Outer, DOCUMENT | change, error=BundleError)

    assert str(raised.value) == message


def test_where_and_the_caller_s_message() -> None:
    with pytest.raises(BundleError, match=r"^file\.json: served\.ratio is str, not float: write it again$"):
        typed(Inner, {"ratio": ""}, "served", error=lambda found: BundleError(f"file.json: {found}: write it again"))


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "\N{BOM}{}", b"\xff"])
def test_what_is_not_json(text: str | bytes) -> None:
    with pytest.raises(BundleError, match=r"^it is not JSON: "):
        from_json(dict, text, error=BundleError)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists, max_leaves=5))
def test_any_value_is_an_error_of_one_line(value: object) -> None:
    with pytest.raises(BundleError) as raised:
        typed(Outer, {**DOCUMENT, "inner": value}, error=BundleError)

    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("a", True), ("a/b.c", True), (".hidden", True), ("..", False), ("a/../b", False), ("/a", False), ("a//b", False),
     ("a/", False), (".", False), ("", False), ("a\\b", False), ("a\0", False)],
)  # fmt: skip
def test_relative_paths(name: str, expected: bool) -> None:
    assert is_relative_path(name) is expected
