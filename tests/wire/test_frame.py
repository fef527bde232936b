"""Frames: one table of (frame, bytes) drives both directions; safetensors' own library is the peer."""

import contextlib
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors
import safetensors.numpy
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from shardline.wire.errors import FrameError
from shardline.wire.frame import (
    MAX_RANK,
    MAX_TENSORS,
    Frame,
    decode,
    dtype_name,
    encode,
    is_float,
    is_frame,
    named_dtype,
)
from shardline.wire.view import View

NUMPYS = ["BOOL", "U8", "I8", "U16", "I16", "U32", "I32", "U64", "I64", "F16", "F32", "F64"]  # its own dtypes
DTYPES = [*NUMPYS, "BF16"]
DOCS = Path(__file__).parents[2] / "docs" / "frame.md"
EXAMPLE = Frame(
    tensors={"size": np.array([[480, 640]], np.uint16), "x": np.array([[1.0, -2.0]], np.float32)},
    bundle="sha256:2c26b46b",
    stage=1,
    timings={"stage-0": 12.5},
)


def body(header: str, data: bytes = b"") -> bytes:
    """A frame by hand: the header padded to a multiple of 8 bytes."""
    text = header.encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data


CASES = {
    "no tensors": (
        Frame(tensors={}, bundle="", stage=0),
        body('{"__metadata__":{"shardline":"1","bundle":"","stage":"0"}}'),
    ),
    "a scalar": (
        Frame(tensors={"x": np.array(1.0, np.float32)}, bundle="b", stage=0),
        body(
            '{"__metadata__":{"shardline":"1","bundle":"b","stage":"0"},'
            '"x":{"dtype":"F32","shape":[],"data_offsets":[0,4]}}',
            b"\x00\x00\x80\x3f",
        ),
    ),
    "an empty tensor": (
        Frame(tensors={"x": np.zeros((0, 3), np.int64)}, bundle="b", stage=0),
        body(
            '{"__metadata__":{"shardline":"1","bundle":"b","stage":"0"},'
            '"x":{"dtype":"I64","shape":[0,3],"data_offsets":[0,0]}}'
        ),
    ),
    "wide dtypes lie first, names keep their order": (
        Frame(
            tensors={"b": np.array([True, False]), "x": np.array([[1, 2]], np.uint16), "a": np.array([3], np.uint64)},
            bundle="b",
            stage=2,
        ),
        body(
            '{"__metadata__":{"shardline":"1","bundle":"b","stage":"2"},'
            '"b":{"dtype":"BOOL","shape":[2],"data_offsets":[12,14]},'
            '"x":{"dtype":"U16","shape":[1,2],"data_offsets":[8,12]},'
            '"a":{"dtype":"U64","shape":[1],"data_offsets":[0,8]}}',
            b"\x03\0\0\0\0\0\0\0" + b"\x01\0\x02\0" + b"\x01\x00",
        ),
    ),
    "all metadata": (
        Frame(
            tensors={},
            bundle="sha256:00",
            stage=3,
            request_id="prüfung-1",
            deadline_ms=1_760_000_000_000,
            traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            timings={"transformer": 3.25, "0": 1},
            parameters={"top": 3, "é": [None, True, {"x": 1.5}]},
            views=(View(width=640, height=480), View(width=9, height=8, left=-0.5, top=1, across=0.25, down=2)),
        ),
        body(
            '{"__metadata__":{"shardline":"1","bundle":"sha256:00","stage":"3","request_id":"prüfung-1",'
            '"deadline_ms":"1760000000000","traceparent":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",'
            '"timings":"{\\"transformer\\":3.25,\\"0\\":1}",'
            '"parameters":"{\\"top\\":3,\\"é\\":[null,true,{\\"x\\":1.5}]}",'
            '"views":"{\\"width\\":[640,9],\\"height\\":[480,8],\\"left\\":[0.0,-0.5],\\"top\\":[0.0,1],'
            '\\"across\\":[1.0,0.25],\\"down\\":[1.0,2]}"}}'
        ),
    ),
}
each_body = pytest.mark.parametrize("data", [data for _, data in CASES.values()], ids=CASES.keys())
each_case = pytest.mark.parametrize(("frame", "data"), CASES.values(), ids=CASES.keys())


def assert_same(found: Frame, expected: Frame) -> None:
    for name in ("bundle", "stage", "request_id", "deadline_ms", "traceparent", "parameters", "views"):
        assert getattr(found, name) == getattr(expected, name), name
    assert list(found.timings.items()) == list(expected.timings.items())
    assert list(found.tensors) == list(expected.tensors)
    for name, array in expected.tensors.items():
        assert found.tensors[name].dtype == array.dtype
        assert found.tensors[name].shape == array.shape
        assert found.tensors[name].tobytes() == array.tobytes()


class TestTable:
    @each_case
    def test_encode(self, frame: Frame, data: bytes) -> None:
        assert encode(frame) == data

    @each_case
    def test_decode(self, frame: Frame, data: bytes) -> None:
        assert_same(decode(data), frame)

    @each_case
    def test_decode_from_the_middle_of_a_buffer(self, frame: Frame, data: bytes) -> None:
        """Not aligned, and writable: the tensors are aligned and read-only all the same."""
        decoded = decode(memoryview(bytearray(b"1" + data))[1:])

        assert_same(decoded, frame)
        for array in decoded.tensors.values():
            assert array.flags.aligned
            assert not array.flags.writeable

    @each_body
    def test_cut_at_every_byte(self, data: bytes) -> None:
        for end in range(len(data)):
            with pytest.raises(FrameError):
                decode(data[:end])

    @each_body
    def test_trailing_bytes(self, data: bytes) -> None:
        with pytest.raises(FrameError, match="as its header says"):
            decode(data + b" ")

    @each_body
    def test_is_frame(self, data: bytes) -> None:
        assert is_frame(data)
        assert is_frame(memoryview(data))

    @each_case
    def test_peer_reads_it(self, frame: Frame, data: bytes, tmp_path: Path) -> None:
        (tmp_path / "frame").write_bytes(data)

        with safetensors.safe_open(tmp_path / "frame", "numpy") as peer:
            metadata = peer.metadata()

        assert metadata["bundle"] == frame.bundle
        assert json.loads(metadata.get("parameters", "{}")) == frame.parameters
        for name, array in safetensors.numpy.load(data).items():
            np.testing.assert_array_equal(array, frame.tensors[name])


def arrays(name: str) -> st.SearchStrategy[np.ndarray]:
    """Any values of the dtype, NaN of every kind among them, in up to three dimensions."""
    bits = np.dtype(np.uint16) if name == "BF16" else named_dtype(name)
    shapes = hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3)
    return hnp.arrays(bits, shapes).map(lambda array: array.view(named_dtype(name)))


def named_arrays(dtypes: list[str]) -> st.SearchStrategy[dict[str, np.ndarray]]:
    names = st.text(max_size=5).filter(lambda name: name != "__metadata__")
    return st.dictionaries(names, st.sampled_from(dtypes).flatmap(arrays), max_size=4)


tensors = named_arrays(DTYPES)
numbers = st.integers(0, 2**53)
texts = st.text(max_size=9).filter(str.isprintable)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=4),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=3), children, max_size=3),
    max_leaves=6,
)
places = st.floats(-1e6, 1e6)
scales = st.floats(1e-3, 1e3)
sizes = st.integers(1, 100_000)
views = st.builds(View, width=sizes, height=sizes, left=places, top=places, across=scales, down=scales)
frames = st.builds(
    Frame,
    tensors=tensors,
    bundle=texts,
    stage=numbers,
    request_id=texts,
    deadline_ms=st.none() | numbers,
    traceparent=texts,
    timings=st.dictionaries(st.text(max_size=4), st.floats(0, 1e9), max_size=3),
    parameters=st.dictionaries(st.text(max_size=4), json_values, max_size=3),
    views=st.lists(views, max_size=3).map(tuple),
)


class TestProperties:
    @settings(max_examples=150, deadline=None)
    @given(frames)
    def test_round_trip(self, frame: Frame) -> None:
        data = encode(frame)

        assert is_frame(data)
        assert_same(decode(data), frame)
        assert encode(decode(data)) == data
        assert all(array.flags.aligned for array in decode(data).tensors.values())

    @settings(max_examples=100, deadline=None)
    @given(named_arrays(NUMPYS))
    def test_peer_reads_every_frame(self, tensors: dict[str, np.ndarray]) -> None:
        frame = Frame(tensors=tensors, bundle="b", stage=0)
        found = safetensors.numpy.load(encode(frame))

        assert {name: array.tobytes() for name, array in found.items()} == {
            name: array.tobytes() for name, array in frame.tensors.items()
        }

    @settings(max_examples=100, deadline=None)
    @given(arrays("BF16"))
    def test_peer_reads_and_writes_bfloat16(self, array: np.ndarray) -> None:
        """safetensors' numpy does not know it, its torch does: the same bits on both ways."""
        ours = encode(Frame(tensors={"x": array}, bundle="b", stage=0))

        found = safetensors.torch.load(ours)["x"]

        assert found.dtype is torch.bfloat16
        assert np.array_equal(found.view(torch.int16).numpy(), array.view(np.int16))
        theirs = safetensors.torch.save({"x": found}, {"shardline": "1", "bundle": "b", "stage": "0"})
        back = decode(theirs).tensors["x"]
        assert back.dtype == array.dtype
        assert back.tobytes() == array.tobytes()

    @settings(max_examples=100, deadline=None)
    @given(named_arrays(NUMPYS))
    def test_every_frame_of_the_peer(self, arrays: dict[str, np.ndarray]) -> None:
        data = safetensors.numpy.save(arrays, metadata={"shardline": "1", "bundle": "b", "stage": "4", "later": "x"})

        found = decode(data)

        assert found.stage == 4
        assert {name: array.tobytes() for name, array in found.tensors.items()} == {
            name: array.tobytes() for name, array in arrays.items()
        }

    @settings(max_examples=400, deadline=None)
    @given(st.sampled_from(list(CASES.values())), st.data())
    def test_flipped_bytes_never_crash(self, case: tuple[Frame, bytes], data: st.DataObject) -> None:
        altered = bytearray(case[1])
        for _ in range(data.draw(st.integers(1, 3))):
            altered[data.draw(st.integers(0, len(altered) - 1))] = data.draw(st.integers(0, 255))
        try:
            found = decode(altered)
        except FrameError:
            return
        assert_same(decode(encode(found)), found)

    @settings(max_examples=300, deadline=None)
    @given(json_values)
    def test_any_json_as_header_never_crashes(self, document: object) -> None:
        metadata = {"shardline": "1", "bundle": "b", "stage": "0"}
        for header in (document, {"__metadata__": document}, {"__metadata__": metadata, "x": document}):
            with contextlib.suppress(FrameError):
                decode(body(json.dumps(header)))

    @given(st.binary(max_size=40))
    def test_any_bytes_never_crash(self, data: bytes) -> None:
        is_frame(data)
        with pytest.raises(FrameError):
            decode(data)

    @given(json_values)
    def test_json_is_no_frame(self, document: object) -> None:
        assert not is_frame(json.dumps(document).encode())
        assert not is_frame(json.dumps({"instances": document}, indent=1, ensure_ascii=False).encode(errors="replace"))


class TestIsFrame:
    @pytest.mark.parametrize(
        "data",
        [
            b"",
            b"{",
            b"\0" * 9,
            b'{"instances": [{"data": "AAAA"}]}',
            b'        {"instances": []}',
            b"\xff\xd8\xff\xe0\x00\x10JFIF\x00",
            b"\x89PNG\r\n\x1a\n{",
            b"RIFF\x24\x00\x00\x00{WEBP",
        ],
    )
    def test_other_bodies(self, data: bytes) -> None:
        assert not is_frame(data)


class TestFrame:
    @pytest.mark.parametrize(
        "fields",
        [
            {"stage": -1},
            {"stage": True},
            {"stage": 1.0},
            {"stage": 10**16},
            {"deadline_ms": -1},
            {"deadline_ms": "1"},
            {"bundle": None},
            {"request_id": "a\nforged: header"},
            {"traceparent": b"00"},
            {"timings": {"0": math.nan}},
            {"timings": {"0": math.inf}},
            {"timings": {"0": -1.0}},
            {"timings": {"0": True}},
            {"timings": [1.0]},
            {"parameters": ["top"]},
            {"tensors": {"__metadata__": np.zeros(1)}},
            {"tensors": {"x": np.zeros(1, np.complex64)}},
            {"tensors": {"x": np.zeros(1, ">f4")}},
            {"tensors": {"x": np.array(["a"])}},
            {"tensors": {"x": np.zeros((1,) * (MAX_RANK + 1))}},
            {"tensors": {str(number): np.zeros(1) for number in range(MAX_TENSORS + 1)}},
        ],
        ids=lambda fields: str(fields)[:40],
    )
    def test_bad_fields(self, fields: dict[str, Any]) -> None:
        minimal: dict[str, Any] = {"tensors": {}, "bundle": "b", "stage": 0}

        with pytest.raises(FrameError, match=r"allowed|frames carry"):
            Frame(**minimal | fields)

    @pytest.mark.parametrize("value", [math.nan, math.inf, {1, 2}, b"x", "\ud800"], ids=repr)
    def test_parameters_that_are_not_json(self, value: object) -> None:
        with pytest.raises(FrameError, match="not JSON"):
            encode(Frame(tensors={}, bundle="b", stage=0, parameters={"x": value}))

    def test_header_over_the_cap(self) -> None:
        with pytest.raises(FrameError, match="header of"):
            encode(Frame(tensors={}, bundle="b", stage=0, parameters={"x": "y" * 2**20}))

    def test_tensors_of_any_strides(self) -> None:
        array = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
        views = {"turned": array.T, "stepped": array[:, ::2, ::-1], "spread": np.broadcast_to(np.float32(1), (2, 2))}

        found = decode(encode(Frame(tensors=views, bundle="b", stage=0))).tensors

        for name, view in views.items():
            np.testing.assert_array_equal(found[name], view)
            assert found[name].flags.c_contiguous

    def test_decoded_tensors_are_views(self) -> None:
        data = encode(EXAMPLE)
        body_bytes = np.frombuffer(data, np.uint8)

        for array in decode(data).tensors.values():
            assert np.shares_memory(array, body_bytes)
            with pytest.raises(ValueError, match="read-only"):
                array[...] = 0

    def test_bfloat16_of_any_strides_and_address(self) -> None:
        array = np.arange(24).astype(named_dtype("BF16")).reshape(2, 3, 4)
        views = {"turned": array.T, "stepped": array[:, ::2, ::-1], "scalar": array[1, 1, 1], "flag": np.array([True])}
        data = encode(Frame(tensors={name: np.asarray(view) for name, view in views.items()}, bundle="b", stage=0))

        for start in range(4):
            found = decode(memoryview(b"\0" * start + data)[start:]).tensors

            for name, view in views.items():
                np.testing.assert_array_equal(found[name], view)
                assert found[name].flags.aligned
                assert not found[name].flags.writeable

    def test_floats(self) -> None:
        assert [name for name in DTYPES if is_float(named_dtype(name))] == ["F16", "F32", "F64", "BF16"]

    def test_dtype_names(self) -> None:
        assert [dtype_name(named_dtype(name)) for name in DTYPES] == DTYPES
        with pytest.raises(FrameError, match="F8_E4M3"):
            named_dtype("F8_E4M3")


def test_the_page_shows_a_true_example() -> None:
    """docs/frame.md has the bytes of EXAMPLE, 16 a line."""
    data = encode(EXAMPLE)
    lines = [data[start : start + 16] for start in range(0, len(data), 16)]
    dump = "\n".join(
        f"{16 * number:04x}  {line.hex(' '):<47}  {''.join(chr(b) if 32 <= b < 127 else '.' for b in line)}"
        for number, line in enumerate(lines)
    )

    assert dump in DOCS.read_text(encoding="utf-8")
