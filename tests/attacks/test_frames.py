"""Hostile frames: what each is refused with, and that refusing it is cheap.

Each MUST of docs/frame.md names its attack here by the key in ATTACKS.
"""

import json
import re
import time
import tracemalloc
from pathlib import Path

import pytest

from shardline.wire.errors import FrameError
from shardline.wire.frame import HEADER_BYTES, MAX_RANK, MAX_TENSORS, decode

DOCS = Path(__file__).parents[2] / "docs" / "frame.md"
# the header's cap, times what Python's objects take for the bytes of the densest JSON
PEAK_BYTES = 32 * HEADER_BYTES
SECONDS = 10.0  # far above what a busy machine needs: it catches what grows without bound
METADATA = {"shardline": "1", "bundle": "b", "stage": "0"}


def raw(header: bytes, data: bytes = b"", length: int | None = None) -> bytes:
    return (len(header) if length is None else length).to_bytes(8, "little") + header + data


def with_header(header: object, data: bytes = b"") -> bytes:
    return raw(json.dumps(header).encode(), data)


def with_tensors(data: bytes = b"", **tensors: object) -> bytes:
    return with_header({"__metadata__": METADATA, **tensors}, data)


def with_metadata(**metadata: object) -> bytes:
    return with_header({"__metadata__": {**METADATA, **metadata}})


def entry(
    dtype: object = "U8", shape: object = (1,), data_offsets: object = (0, 1), **more: object
) -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": data_offsets, **more}


def with_views(**columns: object) -> bytes:
    plain = {"width": [1], "height": [1], "left": [0], "top": [0], "across": [1], "down": [1]}
    return with_metadata(views=json.dumps({**plain, **columns}))


def fill(start: str, middle: str, end: str) -> bytes:
    """A header of the greatest allowed size that is all `middle`."""
    count = (HEADER_BYTES - len(start) - len(end)) // len(middle)
    return raw((start + middle * count + end).encode())


VALID = json.dumps({"__metadata__": METADATA}).encode()

ATTACKS: dict[str, tuple[bytes, str]] = {
    # the length
    "empty": (b"", "0 bytes"),
    "only a length": ((2).to_bytes(8, "little"), "8 bytes"),
    "header over the cap": (raw(VALID, length=HEADER_BYTES + 1), "header length of 1048577"),
    "header of 2**64 - 1 bytes": (b"\xff" * 8 + VALID, "header length of 18446744073709551615"),
    "header past the end": (raw(VALID, length=len(VALID) + 1), "cut off"),
    "header of no bytes": (raw(VALID, length=0), "starts with"),
    # the JSON
    "white space first": (raw(b" " + VALID), "starts with"),
    "an array": (raw(b"[1]"), "starts with"),
    "not JSON": (raw(b"{'a': 1}"), "not strict JSON"),
    "two documents": (raw(VALID + VALID), "not strict JSON"),
    "not UTF-8": (raw(b'{"\xff": 1}'), "not strict JSON"),
    "UTF-16": (raw(VALID.decode().encode("utf-16")), "starts with"),
    "half a surrogate": (raw(rb'{"\ud800": 1}'), "not strict JSON"),
    "repeated tensor": (
        raw(
            b'{"x":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"x":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}'
        ),
        "repeated",
    ),
    "repeated key in an entry": (
        raw(b'{"x":{"dtype":"U8","dtype":"F64","shape":[0],"data_offsets":[0,0]}}'),
        "repeated",
    ),
    "repeated metadata": (raw(b'{"__metadata__":{"stage":"0","stage":"1"}}'), "repeated"),
    "NaN": (raw(b'{"x": NaN}'), "not strict JSON"),
    "infinity": (raw(b'{"x": 1e999}'), "not a finite number"),
    "number of 5000 digits": (raw(b'{"x": ' + b"9" * 5000 + b"}"), "not strict JSON"),
    "arrays nested to the cap": (fill('{"x":', "[", ""), "not strict JSON"),
    "objects nested to the cap": (fill("", '{"x":', ""), "not strict JSON"),
    # what fills memory or time
    "a million empty arrays": (fill('{"x":[', "[],", "0]}"), "entry"),
    "a million zeros": (
        fill('{"__metadata__":{},"x":{"dtype":"U8","data_offsets":[0,1],"shape":[', "0,", "0]}}"),
        "dimensions",
    ),
    "all spaces": (fill("{", " ", ""), "not strict JSON"),
    "too many tensors": (
        with_tensors(b"", **{str(number): entry(shape=[0], data_offsets=[0, 0]) for number in range(MAX_TENSORS + 1)}),
        "4097 tensors",
    ),
    "too many dimensions": (with_tensors(b"\0", x=entry(shape=[1] * (MAX_RANK + 1))), "17 dimensions"),
    # entries
    "entry of the wrong kind": (with_tensors(x=[1]), "entry"),
    "entry lacks a key": (with_tensors(x={"dtype": "U8", "shape": [0]}), "entry"),
    "entry has a key too many": (with_tensors(b"\0", x=entry(strides=[1])), "entry"),
    "unknown dtype": (with_tensors(b"\0", x=entry("F8_E5M2")), "dtype 'F8_E5M2'"),
    "dtype of the wrong kind": (with_tensors(b"\0", x=entry(["U8"])), "dtype"),
    "dimension is negative": (with_tensors(x=entry(shape=[-1], data_offsets=[0, 0])), "shape"),
    "dimension is a bool": (with_tensors(b"\0", x=entry(shape=[True])), "shape"),
    "dimension is a float": (with_tensors(b"\0", x=entry(shape=[1.0])), "shape"),
    "dimension over 64 bits": (with_tensors(x=entry(shape=[2**64, 0], data_offsets=[0, 0])), "shape"),
    "shape of the wrong kind": (with_tensors(b"\0", x=entry(shape={"0": 1})), "shape"),
    "product wraps to 0 in 64 bits": (
        with_tensors(x=entry(shape=[2**32, 2**32], data_offsets=[0, 0])),
        "0 bytes for 'x'",
    ),
    "product wraps to the right size": (
        with_tensors(b"\0" * 8, x=entry("F64", shape=[2**61 + 1], data_offsets=[0, 8])),
        "8 bytes for 'x'",
    ),
    "empty but too large for numpy": (with_tensors(x=entry(shape=[0, 2**62, 2**62], data_offsets=[0, 0])), "numpy"),
    "size differs from the shape": (with_tensors(b"\0" * 4, x=entry("F32", [2], [0, 4])), "4 bytes for 'x'"),
    "offset is negative": (with_tensors(b"\0", x=entry(data_offsets=[-1, 0])), "data_offsets"),
    "offsets turned round": (with_tensors(b"\0", x=entry(data_offsets=[1, 0])), "-1 bytes"),
    "three offsets": (with_tensors(b"\0", x=entry(data_offsets=[0, 1, 1])), "3 data_offsets"),
    "tensor past the end": (with_tensors(b"\0", x=entry(shape=[2**40], data_offsets=[0, 2**40])), "1 bytes of data"),
    "hole before the first": (with_tensors(b"\0\0", x=entry(data_offsets=[1, 2])), "starts at byte 1"),
    "hole between": (with_tensors(b"\0\0\0", x=entry(), y=entry(data_offsets=[2, 3])), "starts at byte 2"),
    "trailing bytes": (with_tensors(b"\0\0", x=entry()), "2 bytes of data"),
    "overlap": (
        with_tensors(b"\0\0\0", x=entry(shape=[2], data_offsets=[0, 2]), y=entry(shape=[2], data_offsets=[1, 3])),
        "at byte 1",
    ),
    "overlap that multiplies the data": (
        with_tensors(
            b"\0" * 1000, **{str(number): entry(shape=[1000], data_offsets=[0, 1000]) for number in range(4000)}
        ),
        "starts at byte 0",
    ),
    "BF16 of odd bytes": (with_tensors(b"\0\0\0", x=entry("BF16", [1], [0, 3])), "3 bytes for 'x'"),
    "BF16 over the data": (with_tensors(b"\0\0", x=entry("BF16", [2**62], [0, 2**63 - 2])), "bytes for 'x'"),
    "BOOL of 2": (with_tensors(b"\x02", x=entry("BOOL")), "a byte over 1"),
    # metadata
    "no metadata": (with_header({}), "metadata None"),
    "metadata of the wrong kind": (with_header({"__metadata__": ["1"]}), "metadata"),
    "metadata that is no string": (with_metadata(stage=0), "metadata"),
    "no mark": (with_header({"__metadata__": {"bundle": "b", "stage": "0"}}), "version None"),
    "another version": (with_metadata(shardline="2"), "version '2'"),
    "no bundle": (with_header({"__metadata__": {"shardline": "1", "stage": "0"}}), "at least"),
    "no stage": (with_header({"__metadata__": {"shardline": "1", "bundle": "b"}}), "at least"),
    "stage is negative": (with_metadata(stage="-1"), "stage '-1'"),
    "stage in other digits": (with_metadata(stage="٣"), "stage"),
    "stage with a line break": (with_metadata(stage="0\n"), "stage"),
    "stage of 5000 digits": (with_metadata(stage="9" * 5000), "stage"),
    "deadline is a float": (with_metadata(deadline_ms="1e3"), "deadline_ms"),
    "request id with a line break": (with_metadata(request_id="a\r\nSet-Cookie: b"), "request_id"),
    "timings not JSON": (with_metadata(timings="{"), "timings"),
    "timings of the wrong kind": (with_metadata(timings="[1]"), "timings"),
    "timing of NaN": (with_metadata(timings='{"a": NaN}'), "timings"),
    "timing is negative": (with_metadata(timings='{"a": -1}'), "timing -1"),
    "timing is a bool": (with_metadata(timings='{"a": true}'), "timing True"),
    "timing is text": (with_metadata(timings='{"a": "1"}'), "timing '1'"),
    "timing over every float": (with_metadata(timings='{"a": ' + "9" * 400 + "}"), "timing 9"),
    "parameters of the wrong kind": (with_metadata(parameters="null"), "parameters"),
    "parameters with NaN": (with_metadata(parameters='{"top": NaN}'), "parameters"),
    "parameters repeated": (with_metadata(parameters='{"top": 1, "top": 2}'), "repeated"),
    "parameters nested": (with_metadata(parameters='{"top":' + "[" * 100_000), "parameters"),
    "views of the wrong kind": (with_metadata(views="[1]"), "views"),
    "views without a column": (with_metadata(views='{"width": [1]}'), "views {'width': [1]}"),
    "views with a column too many": (with_views(turn=[0]), "a list of numbers for each of width"),
    "view of a number": (with_views(left=0), "a list of numbers"),
    "views of two lengths": (with_views(top=[0, 0]), "'top': 2"),
    "view of no width": (with_views(width=[0]), "width 0"),
    "view of half a pixel": (with_views(height=[1.5]), "height 1.5"),
    "view with a bool": (with_views(left=[True]), "left True"),
    "view with text": (with_views(top=["0"]), "top '0'"),
    "view with NaN": (with_views(left=[float("nan")]), "not a finite number"),
    "view over every float": (with_metadata(views='{"width": [' + "9" * 400 + "]}"), "views"),
    "view out of range": (with_views(top=[2.0**60]), "top"),
    "view without a scale": (with_views(across=[0]), "across 0"),
    "view turned round": (with_views(down=[-1]), "down -1"),
    "as many views as fit": (
        with_views(**{name: [1] * 50_000 for name in ("width", "height", "left", "top", "across")}, down=[0] * 50_000),
        "down 0",
    ),
}


@pytest.mark.parametrize(("data", "message"), ATTACKS.values(), ids=ATTACKS.keys())
def test_refused_cheaply(data: bytes, message: str) -> None:
    tracemalloc.start()
    start = time.perf_counter()
    try:
        with pytest.raises(FrameError) as caught:
            decode(data)
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert re.search(re.escape(message), str(caught.value))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600
    assert peak_bytes < PEAK_BYTES
    assert time.perf_counter() - start < SECONDS


def test_every_must_names_its_attack() -> None:
    """docs/frame.md: each row of the table of MUSTs ends with keys of ATTACKS, and no attack is left out."""
    rows = re.findall(r"^\|.*MUST.*\|(.*)\|$", DOCS.read_text(encoding="utf-8"), re.MULTILINE)
    named = [key.strip() for row in rows for key in row.split(";")]

    assert sorted(named) == sorted(ATTACKS)
