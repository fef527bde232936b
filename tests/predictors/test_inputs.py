"""Values of further inputs in requests: what becomes an array, and what is refused with its instance and name."""

import base64
import io
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hypothesis_numpy
from PIL import Image

from shardline.predictors.inputs import read_inputs
from shardline.predictors.picture import to_pixels
from shardline.storage.bundle import PictureSpec
from shardline.storage.inputs import parse_inputs
from shardline.wire.errors import PictureError, RequestError
from shardline.wire.limits import Limits
from shardline.wire.v1 import encode_request, parse_request

SPEC = PictureSpec(height=4, width=6, fit="stretch")
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["b64", "x"]), inner, max_size=2),
    max_leaves=8,
)


def picture(colour: str) -> bytes:
    with io.BytesIO() as buffer:
        Image.new("RGB", (9, 7), colour).save(buffer, "PNG")
        return buffer.getvalue()


def read(*values: object, text: str = "mask=float32[2,3]") -> np.ndarray:
    """Send one instance for each value, and read the input that `text` describes."""
    specs = parse_inputs([text])
    name = specs[0].name
    body = encode_request([picture("red")] * len(values), inputs=[{name: value} for value in values])
    return read_inputs(parse_request(body, [name]), specs, SPEC, Limits())[name]


def b64(array: np.ndarray) -> dict[str, str]:
    return {"b64": base64.b64encode(array.tobytes()).decode()}


@given(hypothesis_numpy.arrays(np.float32, (2, 3), elements=st.floats(-100, 100, width=32)))
def test_lists_and_bytes_are_the_same_numbers(array: np.ndarray) -> None:
    found = read(array.tolist(), b64(array))

    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, np.stack([array, array]))


@pytest.mark.parametrize(
    ("text", "value", "expected"),
    [
        ("scale=float64", 0.5, np.array([0.5])),
        ("scale=float32", 3, np.array([3], np.float32)),
        ("kind=int64", 7, np.array([7])),
        ("flags=bool[2]", [True, False], np.array([[True, False]])),
        ("flags=bool[2]", [1, 0], np.array([[True, False]])),
        ("levels=uint8[2]", [0, 255], np.array([[0, 255]], np.uint8)),
        ("half=float16[1]", [0.25], np.array([[0.25]], np.float16)),
    ],
)
def test_numbers_of_every_kind(text: str, value: object, expected: np.ndarray) -> None:
    found = read(value, text=text)

    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)


def test_a_further_picture_is_prepared_like_the_first() -> None:
    blue = picture("blue")

    found = read({"b64": base64.b64encode(blue).decode()}, text="reference=picture")

    np.testing.assert_array_equal(found[0], to_pixels(blue, SPEC, Limits()))


def refusal(value: object, text: str) -> RequestError | None:
    try:
        read(value, text=text)
    except RequestError as exc:
        return exc
    return None


@given(JSON, st.sampled_from(["m=float32[2,3]", "m=int8", "m=bool[1]", "m=uint8[2]", "m=picture"]))
def test_any_json_is_an_array_or_a_request_error(value: object, text: str) -> None:
    error = refusal(value, text)

    assert error is None or (str(error).startswith("instance 0: m") and str(error).isprintable())


@pytest.mark.parametrize(
    ("text", "value", "message"),
    [
        ("mask=float32[2,3]", [[1, 2], [3, 4]], r"numbers of the shape \[2, 2\]; allowed is float32\[2,3\]"),
        ("mask=float32[2,3]", [[1, 2], [3]], "lists of different lengths"),
        ("mask=float32[2,3]", [], r"numbers of the shape \[0\]"),
        ("mask=float32[2,3]", 1, r"numbers of the shape \[\]"),
        ("mask=float32[2,3]", None, "is null; allowed is"),
        ("mask=float32[2,3]", "abc", "is a string; allowed is"),
        ("mask=float32[2,3]", [["a"] * 3] * 2, "a list with texts"),
        ("mask=float32[2]", [1e300, 0], "holds infinity or NaN"),
        ("mask=float32[1]", b64(np.array([np.nan], np.float32)), "holds infinity or NaN"),
        ("mask=float32[2]", b64(np.zeros(2)), "16 bytes, where 8 are needed"),
        ("mask=float32[2]", {"b64": 3}, "is an object with the key 'b64'"),
        ("mask=float32[2]", {"raw": "x"}, "is an object with the key 'raw'"),
        ("kind=int64", 1.5, "is a number; allowed is int64"),
        ("kind=int8[1]", [1.0], "a list with numbers with fractions"),
        ("kind=int8[1]", [True], "a list with true and false"),
        ("kind=uint8[2]", [0, 256], "a number outside of 0 to 255"),
        ("flags=bool[2]", [0, 2], "a number outside of 0 to 1"),
        ("flags=bool[2]", b64(np.array([0, 2], np.uint8)), "a byte over 1"),
    ],
)
def test_values_that_do_not_fit(text: str, value: object, message: str) -> None:
    name = text.partition("=")[0]

    with pytest.raises(RequestError, match=f"^instance 1: {name} .*{message}|^instance 1: {name} {message}"):
        read(good(text), value, text=text)


def good(text: str) -> object:
    [spec] = parse_inputs([text])
    return np.zeros(spec.shape, int).tolist()


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        ({"b64": "AAAA"}, PictureError, "instance 0: reference: not a picture"),
        ({"b64": "A"}, PictureError, "instance 0: reference: broken base64"),
        ([[1]], RequestError, "instance 0: reference: found a list of 1"),
    ],
)
def test_further_pictures_that_cannot_be_read(value: object, error: type[RequestError], message: str) -> None:
    with pytest.raises(error, match=message):
        read(value, text="reference=picture")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (picture("red"), "the body is a picture alone; the model also takes mask and scale: send"),
        (
            {"image": "AAAA", "mask": 1},
            "instance 0: scale is missing; the model takes mask and scale",
        ),
        ("AAAA", "instance 0: mask and scale is missing"),
        ({"image": "AAAA", "mask": 1, "scale": 1, "more": 1}, "found an object with the keys 'image', 'more'"),
        ({"mask": 1, "scale": 1}, "found an empty object"),
    ],
)
def test_requests_without_their_inputs(body: Any, message: str) -> None:
    data = body if isinstance(body, bytes) else json.dumps({"instances": [body]}).encode()

    with pytest.raises(RequestError, match=message):
        parse_request(data, ["mask", "scale"])
