"""v1 predict JSON: every shape that users send, and everything else they send."""

import base64
import json
import time
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardline.wire.errors import PictureError, RequestError, TooLargeError
from shardline.wire.v1 import PredictRequest, check_instances, encode_request, is_picture, parse_request, picture_format

PICTURE = b"\x89PNG\r\n\x1a\n and more than fits one line of base64: " + bytes(range(256))
B64 = base64.b64encode(PICTURE).decode()
WRAPPED = base64.encodebytes(PICTURE).decode()

# any JSON that a request could hold, with the key names that matter among others
KEYS = st.sampled_from(["instances", "parameters", "image_bytes", "image", "data", "b64"]) | st.text(max_size=3)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.just(B64),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)
PARAMETERS = st.dictionaries(
    st.text(st.characters(exclude_categories=["Cs"])),
    st.booleans() | st.integers(-(2**60), 2**60) | st.text(st.characters(exclude_categories=["Cs"])),
    max_size=3,
)


def body_of(*instances: object, **more: object) -> bytes:
    return json.dumps({"instances": instances, **more}).encode()


@given(st.lists(st.binary(min_size=1), min_size=1, max_size=4), PARAMETERS)
def test_what_is_encoded_is_parsed_back(pictures: list[bytes], parameters: dict[str, object]) -> None:
    request = parse_request(encode_request(pictures, parameters))

    assert request == PredictRequest(pictures=tuple(pictures), parameters=parameters)


def refusal(body: bytes) -> RequestError | None:
    try:
        assert parse_request(body).pictures
    except RequestError as exc:
        return exc
    return None


@given(st.binary() | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_body_gives_pictures_or_a_request_error(body: bytes) -> None:
    error = refusal(body)

    assert error is None or (error.status == 400 and str(error).isprintable())


@given(JSON, st.dictionaries(KEYS, JSON, max_size=3))
def test_any_instance_gives_a_picture_or_a_request_error(instance: object, parameters: dict[str, object]) -> None:
    error = refusal(body_of(instance, parameters=parameters))

    assert error is None or (error.status == 400 and str(error).isprintable())


@given(st.integers(0, len(body_of(B64)) - 1))
def test_a_body_cut_anywhere_is_refused(length: int) -> None:
    with pytest.raises(RequestError):
        parse_request(body_of(B64)[:length])


@pytest.mark.parametrize(
    "instance",
    [
        {"image_bytes": {"b64": B64}},
        {"image": {"b64": B64}},
        {"data": {"b64": B64}},
        {"image_bytes": B64},
        {"image": B64},
        {"data": B64},
        {"b64": B64},
        B64,
        {"data": f"data:image/png;base64,{B64}"},
        f"data:image/svg+xml;charset=utf-8;base64,{B64}",
        f"\n DATA:image/jpeg;BASE64,\n{WRAPPED}",
        WRAPPED,
        {"image_bytes": {"b64": WRAPPED.replace("\n", "\r\n\t ")}},
    ],
    ids=lambda instance: str(instance)[:34],
)
def test_shapes_that_users_send(instance: object) -> None:
    assert parse_request(body_of(instance)).pictures == (PICTURE,)


def test_shapes_may_be_mixed_and_keep_their_order() -> None:
    others = [base64.b64encode(text).decode() for text in (b"one", b"two")]

    assert parse_request(body_of(others[0], {"b64": B64}, {"data": others[1]})).pictures == (b"one", PICTURE, b"two")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32-le"])
def test_json_in_another_encoding_of_unicode_is_read(encoding: str) -> None:
    body = body_of(B64, parameters={"name": "ü"}).decode().encode(encoding)

    assert parse_request(body) == PredictRequest(pictures=(PICTURE,), parameters={"name": "ü"})


@pytest.mark.parametrize(
    ("start", "name"),
    [
        (b"\xff\xd8\xff\xe0", "JPEG"),
        (b"\x89PNG\r\n\x1a\n", "PNG"),
        (b"RIFF\x10\0\0\0WEBP", "WebP"),
        (b"GIF87a", "GIF"),
        (b"GIF89a", "GIF"),
        (b"BM", "BMP"),
        (b"II*\0", "TIFF"),
        (b"MM\0*", "TIFF"),
        (b"II+\0", "TIFF"),
        (b"MM\0+", "TIFF"),
        (b"RIFF\x10\0\0\0WAVE", None),
        (b"%!PS-Adobe", None),
        (b"", None),
    ],
)
def test_a_picture_is_known_by_its_first_bytes(start: bytes, name: str | None) -> None:
    assert picture_format(start + b"...") == name
    assert is_picture(start + b"...") == (name is not None)
    if name:
        assert parse_request(start + b"...") == PredictRequest(pictures=(start + b"...",))


@pytest.mark.parametrize(
    ("body", "error", "message"),
    [
        (b"", RequestError, "the body is empty"),
        (b" \n", RequestError, "the body is empty"),
        (b"hello", RequestError, "neither JSON .* nor a picture"),
        (b"\xff\xfe\xfd", RequestError, "neither JSON .* nor a picture"),
        (b"%PDF-1.7", RequestError, "neither JSON .* nor a picture"),
        (b"[" * 50_000, RequestError, "nested too deeply"),
        (b'{"instances": ' + b"[" * 50_000, RequestError, "nested too deeply"),
        (b"[1]", RequestError, "the body is a list of 1; allowed is an object"),
        (b"null", RequestError, "the body is null"),
        (b"{}", RequestError, "the body has no instances"),
        (b'{"instances": []}', RequestError, "instances is an empty list"),
        (b'{"instances": {}}', RequestError, "instances is an empty object"),
        (b'{"instances": "abcd"}', RequestError, "instances is a string; allowed is a list"),
        (body_of(B64, signature_name="x"), RequestError, "the unknown key 'signature_name'; allowed are instances"),
        (body_of(B64, **{"\ud800": 1}), RequestError, r"the unknown key '\\ud800'"),
        (body_of(B64, parameters=[]), RequestError, "parameters is an empty list; allowed is an object"),
        (body_of(B64, parameters={"a": "\ud800"}), RequestError, "parameters cannot be written as UTF-8"),
        (body_of(B64, parameters={"a": float("nan")}), RequestError, "holds NaN"),
        (body_of(B64, parameters={"a": float("-inf")}), RequestError, "holds -Infinity"),
        (b'{"instances": [1e999]}', RequestError, "holds 1e999"),
        (b'{"instances": [%s]}' % (b"9" * 5000), RequestError, "holds a number of 5000 characters"),
        (body_of([1, 2]), RequestError, "instance 0: found a list of 2; allowed are"),
        (body_of(B64, None), RequestError, "instance 1: found null"),
        (body_of(B64, B64, 7), RequestError, "instance 2: found a number"),
        (body_of(True), RequestError, "instance 0: found true"),
        (body_of({}), RequestError, "instance 0: found an empty object"),
        (
            body_of({"image": B64, "data": B64}),
            RequestError,
            "instance 0: found an object with the keys 'image', 'data'",
        ),
        (body_of({"tensor": B64}), RequestError, "found an object with the key 'tensor'; .* send"),
        (body_of({"image": {"b64": B64, "x": 1}}), RequestError, "found an object with the keys 'b64', 'x'"),
        (
            body_of({"b64": {"b64": B64}}),
            RequestError,
            "b64 is an object with the key 'b64'; allowed is a base64 string",
        ),
        (body_of(B64, "a"), PictureError, "instance 1: broken base64"),
        (body_of(B64[:-1]), PictureError, "instance 0: broken base64"),
        (body_of("ab=c"), PictureError, "instance 0: broken base64"),
        (body_of("ab$c"), PictureError, "instance 0: broken base64"),
        (body_of("äöüß"), PictureError, "a character outside of ASCII"),
        (body_of("data:text/plain;base64," + B64), PictureError, "instance 0: broken base64"),
        (body_of(B64, {"image": ""}), PictureError, "instance 1: the picture is empty"),
        (body_of("data:image/png;base64,"), PictureError, "instance 0: the picture is empty"),
    ],
)
def test_bad_bodies(body: bytes, error: type[RequestError], message: str) -> None:
    with pytest.raises(error, match=message) as raised:
        parse_request(body)

    assert type(raised.value) is error
    assert raised.value.status == 400
    assert len(str(raised.value)) < 400


def test_more_instances_than_allowed_are_too_large() -> None:
    check_instances(8, allowed=8)

    with pytest.raises(TooLargeError, match="9 instances; allowed are 8") as raised:
        check_instances(9, allowed=8)
    assert raised.value.status == 413


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b'{"instances":[' + b"[]," * 11_000_000 + b"[]]}", id="empty lists"),
        pytest.param(b'{"instances":[' + b'{"a":1},' * 4_100_000 + b'{"a":1}]}', id="objects"),
        pytest.param(b'{"instances":["data:image/png' + b";a=b" * 8_000_000 + b'"]}', id="a data URL"),
    ],
)
def test_32_megabytes_of_json_are_refused_cheaply(body: bytes) -> None:
    tracemalloc.start()
    start_s = time.process_time()
    try:
        with pytest.raises(RequestError):
            parse_request(body)
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert time.process_time() - start_s < 2
    assert peak_bytes < 4 * len(body)


def test_numbers_of_inputs_are_allowed_on_top() -> None:
    body = json.dumps({"instances": [{"image_bytes": {"b64": B64}, "mask": [0] * 150_000}]}).encode()

    with pytest.raises(TooLargeError):
        parse_request(body, ["mask"])
    assert parse_request(body, ["mask"], most_values=200_000).inputs["mask"] == ([0] * 150_000,)
