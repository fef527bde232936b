"""Go's JSON in Python. What Go makes of the odd cases is asked of KServe's binary in tests/conformance/."""

import json
from contextlib import suppress

from hypothesis import given
from hypothesis import strategies as st

from shardline.manifests.gojson import decode_object, encode, is_json, map_predictions

VALUES = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(VALUES, st.booleans())
def test_what_python_writes_is_json(value: object, ascii_only: bool) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only)

    assert is_json(text.encode("utf-8", "surrogatepass"))


@given(st.lists(VALUES, min_size=1))
def test_predictions_keep_their_values(values: list[object]) -> None:
    text = json.dumps({"predictions": values, "other": 1}).encode()

    assert json.loads(map_predictions(text), parse_int=float) == {"instances": values}


@given(st.dictionaries(st.text(), VALUES))
def test_objects_keep_their_values(members: dict[str, object]) -> None:
    document = decode_object(json.dumps(members).encode())

    assert json.loads(encode(document), parse_int=float) == members


@given(st.binary())
def test_no_bytes_are_too_strange(body: bytes) -> None:
    is_json(body)

    assert map_predictions(body) == body
    with suppress(ValueError):
        encode(decode_object(body))


def test_deep_nesting_is_refused_not_fatal() -> None:
    body = b"[" * 1_000_000

    assert not is_json(body)
    assert map_predictions(body) == body
