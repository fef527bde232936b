"""Codec of frames, the binary messages between stages: bytes to values and back, without sockets or servers.

A frame is safetensors bytes with metadata, so that any language can read it and nothing in it is code:

    8 bytes            the header's length N, unsigned little endian, a multiple of 8
    N bytes            the header, UTF-8 JSON, padded with spaces: each tensor's dtype, shape and offsets; metadata
    the rest           the tensors' bytes, little endian, C order, without holes

Strategy: the header is small, and this module checks all of it; the data is large and not copied when a frame is
decoded. A decoded tensor is a read-only view of the body, and keeps the body alive. When a frame is encoded, every
tensor is copied once, directly into the body. The header names the tensors in the order of `Frame.tensors`, while the
data has wide dtypes first, so that each tensor is aligned and its order is kept.

No input is trusted: for any bytes, `decode` returns a Frame or raises FrameError. docs/frame.md is the normative page.
"""

import json
import math
import re
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from shardline.wire.errors import FrameError
from shardline.wire.limits import MIB
from shardline.wire.view import View, from_columns, to_columns

VERSION = "1"
HEADER_BYTES = MIB  # a real header has a few KiB; the limit bounds what a hostile one makes the JSON parser allocate
MAX_TENSORS = 4096
MAX_RANK = 16

Array = NDArray[Any]

_LENGTH_BYTES = 8
_ALIGNMENT = 8  # bytes; the widest dtype
_METADATA = "__metadata__"
_NUMBER = re.compile(r"0|[1-9][0-9]{0,15}")  # below 2**53: the same in every language's JSON
_MAX_INT64 = 2**63 - 1
_DTYPES: dict[str, np.dtype[Any]] = {
    "BOOL": np.dtype("?"),
    "U8": np.dtype("u1"),
    "I8": np.dtype("i1"),
    "U16": np.dtype("<u2"),
    "I16": np.dtype("<i2"),
    "U32": np.dtype("<u4"),
    "I32": np.dtype("<i4"),
    "U64": np.dtype("<u8"),
    "I64": np.dtype("<i8"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype(ml_dtypes.bfloat16),  # to numpy, an unknown type of two bytes
    "F32": np.dtype("<f4"),
    "F64": np.dtype("<f8"),
}
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}
_BF16 = _DTYPES["BF16"]
_FLOATS = frozenset({"F16", "BF16", "F32", "F64"})


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Frame:
    """The tensors for one stage, and the metadata of their request.

    Two frames are never `==`, since arrays have no single truth value: compare their fields.

    Attributes:
        tensors: name -> array of any shape and any dtype that `dtype_name` knows. Decoded ones are read-only views.
        bundle: the digest of the bundle that the sender and the receiver must share ("sha256:…").
        stage: the index of the stage that is to receive the frame, from 0.
        request_id: the request's name in the logs of all stages; "" if it has none.
        deadline_ms: Unix time in ms after which nobody waits for the reply; None if there is none.
        traceparent: W3C Trace Context, "" if there is none.
        timings: name of a stage -> ms spent there, in the order of the stages.
        parameters: what the request asks of the task: JSON values (str, int, finite float, bool, None, list, dict).
        views: the mapping of each instance's pixels to the picture that was sent, in the order of the instances;
            empty if the sender gives none. The receiver checks that there is one for each instance.

    Raises:
        FrameError: a field of the wrong type or out of range.
    """

    tensors: Mapping[str, Array]
    bundle: str
    stage: int
    request_id: str = ""
    deadline_ms: int | None = None
    traceparent: str = ""
    timings: Mapping[str, float] = field(default_factory=dict)
    parameters: Mapping[str, object] = field(default_factory=dict)
    views: tuple[View, ...] = ()

    def __post_init__(self) -> None:
        for name in ("bundle", "request_id", "traceparent"):
            _check_text(name, getattr(self, name))
        _check_number("stage", self.stage)
        if self.deadline_ms is not None:
            _check_number("deadline_ms", self.deadline_ms)
        _check_timings(self.timings)
        if not isinstance(self.parameters, Mapping):
            raise _bad(f"parameters {reprlib.repr(self.parameters)}", "a JSON object")
        _check_tensors(self.tensors)


class _Entry(NamedTuple):
    """One tensor as the header describes it; `begin` and `end` count bytes from the start of the data."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    begin: int
    end: int


def dtype_name(dtype: np.dtype[Any]) -> str:
    """Name of a numpy dtype in safetensors: float32 -> 'F32'.

    Raises:
        FrameError: a dtype that frames do not carry, big endian ones included.
    """
    try:
        return _NAMES[dtype]
    except KeyError as exc:
        raise FrameError(f"a tensor has dtype {dtype}; frames carry {', '.join(_DTYPES)}: convert it first") from exc


def named_dtype(name: str) -> np.dtype[Any]:
    """Numpy dtype of a name in safetensors: 'F32' -> float32.

    Raises:
        FrameError: an unknown name.
    """
    try:
        return _DTYPES[name]
    except (KeyError, TypeError) as exc:
        raise _bad(f"dtype {reprlib.repr(name)}", f"one of {', '.join(_DTYPES)}") from exc


def is_float(dtype: np.dtype[Any]) -> bool:
    """Tell whether a dtype is floating point, bfloat16 included, for which `dtype.kind` says no."""
    return _NAMES.get(dtype) in _FLOATS


def is_frame(body: bytes | bytearray | memoryview) -> bool:
    """Tell whether a body is meant as a frame, by its first 9 bytes: a plausible header length, then '{'.

    The upper bytes of the length are zero. JSON has no zero byte, and JPEG, PNG and WebP have no four of them at these
    offsets, so a v1 body or a picture is never taken for a frame.
    """
    start = bytes(body[: _LENGTH_BYTES + 1])
    return len(start) > _LENGTH_BYTES and start.endswith(b"{") and _header_length(start) <= HEADER_BYTES


def encode(frame: Frame) -> bytes:
    """Encode a frame, copying each tensor once, or twice if it is not C contiguous.

    Raises:
        FrameError: parameters that are not JSON, or a header over `HEADER_BYTES`.
    """
    return b"".join(encode_parts(frame))


def encode_parts(frame: Frame) -> list[bytes | memoryview]:
    """Encode a frame in consecutive parts: the header, then each tensor's own memory, without a copy.

    The tensors must not change until the parts are sent.
    """
    by_width = sorted(frame.tensors.items(), key=lambda item: -item[1].itemsize)
    ends = accumulate((array.nbytes for _, array in by_width), initial=0)
    offsets = {name: span for (name, _), span in zip(by_width, pairwise(ends), strict=True)}
    tensors = {
        name: {"dtype": dtype_name(array.dtype), "shape": array.shape, "data_offsets": offsets[name]}
        for name, array in frame.tensors.items()
    }
    header = _dump({_METADATA: _write_metadata(frame), **tensors})
    header += b" " * (-len(header) % _ALIGNMENT)
    if len(header) > HEADER_BYTES:
        raise _bad(f"a header of {len(header)} bytes", f"{HEADER_BYTES}")
    return [len(header).to_bytes(_LENGTH_BYTES, "little") + header, *(_memory(array) for _, array in by_width)]


def _memory(array: Array) -> memoryview:
    """Bytes of an array in C order, viewed as uint8, since numpy exports no buffer of dtypes like bfloat16."""
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


def decode(body: bytes | bytearray | memoryview) -> Frame:
    """Decode a frame; its tensors are read-only views of `body`, or copies where they are not aligned there.

    Raises:
        FrameError: the bytes are no frame.
    """
    view = memoryview(body).toreadonly().cast("B")
    header, data = _split(view)
    document = _load(header, "header")
    metadata = document.pop(_METADATA, None)
    if len(document) > MAX_TENSORS:
        raise _bad(f"{len(document)} tensors", f"{MAX_TENSORS}")
    entries = [_read_entry(name, entry) for name, entry in document.items()]
    _check_offsets(entries, len(data))
    return Frame(tensors={entry.name: _array(entry, data) for entry in entries}, **_read_metadata(metadata))


def _bad(found: str, allowed: str) -> FrameError:
    return FrameError(f"a frame has {found}; allowed: {allowed}; send what docs/frame.md describes")


def _header_length(view: bytes | memoryview) -> int:
    return int.from_bytes(view[:_LENGTH_BYTES], "little")


def _split(view: memoryview) -> tuple[bytes, memoryview]:
    """Split a body into the header's bytes and the data."""
    if len(view) <= _LENGTH_BYTES:
        raise _bad(f"{len(view)} bytes", f"a header length of {_LENGTH_BYTES} bytes and a header")
    length = _header_length(view)
    if length > HEADER_BYTES:
        raise _bad(f"a header length of {length} bytes", f"{HEADER_BYTES}")
    end = _LENGTH_BYTES + length
    if end > len(view):
        raise _bad(f"{len(view)} bytes", f"at least {end}, as its header length says: was it cut off on the way?")
    header = bytes(view[_LENGTH_BYTES:end])
    if not header.startswith(b"{"):
        raise _bad(f"a header that starts with {header[:1]!r}", "b'{'")
    return header, view[end:]


def _read_entry(name: str, entry: object) -> _Entry:
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise _bad(f"the entry {reprlib.repr(entry)} for {reprlib.repr(name)}", "dtype, shape and data_offsets")
    shape, offsets = _numbers(entry["shape"], "shape"), _numbers(entry["data_offsets"], "data_offsets")
    if len(shape) > MAX_RANK:
        raise _bad(f"a tensor of {len(shape)} dimensions", f"{MAX_RANK}")
    if len(offsets) != 2:
        raise _bad(f"{len(offsets)} data_offsets for {reprlib.repr(name)}", "2")
    dtype = named_dtype(entry["dtype"])
    (begin, end), size = offsets, math.prod(shape) * dtype.itemsize
    if end - begin != size:
        raise _bad(f"{end - begin} bytes for {reprlib.repr(name)}", "what its dtype and shape need")
    return _Entry(name, dtype, shape, begin, end)


def _numbers(value: object, what: str) -> tuple[int, ...]:
    """Check a JSON list of whole numbers that fit into 64 bits."""
    if not isinstance(value, list) or not all(type(number) is int and 0 <= number <= _MAX_INT64 for number in value):
        raise _bad(f"{what} {reprlib.repr(value)}", "a list of whole numbers from 0")
    return tuple(value)


def _check_offsets(entries: list[_Entry], size_bytes: int) -> None:
    """Check that each byte of the data belongs to exactly one tensor: no holes, and no overlap that multiplies data."""
    expected = 0
    for begin, end in sorted((entry.begin, entry.end) for entry in entries):
        if begin != expected:
            raise _bad(f"a tensor that starts at byte {begin} of the data", f"{expected}, where the one before it ends")
        expected = end
    if expected != size_bytes:
        raise _bad(f"{size_bytes} bytes of data", f"{expected}, as its header says: was it cut off or added to?")


def _array(entry: _Entry, data: memoryview) -> Array:
    try:
        array: Array = np.ndarray(entry.shape, entry.dtype, buffer=data, offset=entry.begin)
    except ValueError as exc:  # an empty tensor whose other dimensions overflow
        raise _bad(f"shape {list(entry.shape)}", "what numpy can hold") from exc
    if entry.dtype.kind == "b" and array.size and array.view(np.uint8).max() > 1:
        raise _bad(f"a byte over 1 in the BOOL tensor {reprlib.repr(entry.name)}", "0 and 1")
    if not array.flags.aligned:
        array = array.copy()
        array.flags.writeable = False
    return array


def _write_metadata(frame: Frame) -> dict[str, str]:
    metadata = {"shardline": VERSION, "bundle": frame.bundle, "stage": str(frame.stage)}
    if frame.request_id:
        metadata["request_id"] = frame.request_id
    if frame.deadline_ms is not None:
        metadata["deadline_ms"] = str(frame.deadline_ms)
    if frame.traceparent:
        metadata["traceparent"] = frame.traceparent
    if frame.timings:
        metadata["timings"] = _dump(dict(frame.timings)).decode()
    if frame.parameters:
        metadata["parameters"] = _dump(dict(frame.parameters)).decode()
    if frame.views:
        metadata["views"] = _dump(to_columns(frame.views)).decode()
    return metadata


def _read_metadata(metadata: object) -> dict[str, Any]:
    """Read the Frame's fields, except its tensors, from the header's metadata; unknown keys are for later versions."""
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise _bad(f"metadata {reprlib.repr(metadata)}", "an object of strings")
    if metadata.get("shardline") != VERSION:
        raise _bad(f"the version {reprlib.repr(metadata.get('shardline'))} under 'shardline'", repr(VERSION))
    if not {"bundle", "stage"} <= metadata.keys():
        raise _bad(f"the metadata {reprlib.repr(sorted(metadata))}", "at least shardline, bundle and stage")
    fields: dict[str, Any] = {key: metadata[key] for key in ("bundle", "request_id", "traceparent") if key in metadata}
    fields |= {key: _read_number(key, metadata[key]) for key in ("stage", "deadline_ms") if key in metadata}
    fields |= {key: _load(metadata[key].encode(), key) for key in ("timings", "parameters") if key in metadata}
    if "views" in metadata:
        fields["views"] = from_columns(_load(metadata["views"].encode(), "views"))
    return fields


def _read_number(key: str, text: str) -> int:
    if not _NUMBER.fullmatch(text):
        raise _bad(f"{key} {reprlib.repr(text)}", "a whole number from 0 to 9999999999999999")
    return int(text)


def _check_number(name: str, value: object) -> None:
    if type(value) is not int or not _NUMBER.fullmatch(str(value)):
        raise _bad(f"{name} {reprlib.repr(value)}", "a whole number from 0 to 9999999999999999")


def _check_text(name: str, value: object) -> None:
    # these texts reach logs and headers, where a line break would forge the next line
    if not isinstance(value, str) or not value.isprintable():
        raise _bad(f"{name} {reprlib.repr(value)}", "printable text")


def _check_timings(timings: object) -> None:
    if not isinstance(timings, Mapping):
        raise _bad(f"timings {reprlib.repr(timings)}", "an object of ms by stage")
    for name, ms in timings.items():
        number = isinstance(ms, int | float) and not isinstance(ms, bool)
        if not isinstance(name, str) or not number or not 0 <= ms <= _MAX_INT64:
            raise _bad(f"the timing {reprlib.repr(ms)} for {reprlib.repr(name)}", "ms from 0, finite")


def _check_tensors(tensors: Mapping[str, Array]) -> None:
    if len(tensors) > MAX_TENSORS:
        raise _bad(f"{len(tensors)} tensors", f"{MAX_TENSORS}")
    for name, array in tensors.items():
        if not isinstance(name, str) or name == _METADATA:
            raise _bad(f"a tensor named {reprlib.repr(name)}", f"any string but {_METADATA}")
        if array.ndim > MAX_RANK:
            raise _bad(f"a tensor of {array.ndim} dimensions", f"{MAX_RANK}")
        dtype_name(array.dtype)


def _dump(document: object) -> bytes:
    try:
        return json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except (ValueError, TypeError, RecursionError) as exc:
        raise _bad(f"something that is not JSON ({exc})", "str, int, finite float, bool, None, list and dict") from exc


def _load(data: bytes, what: str) -> dict[str, Any]:
    """Parse strict UTF-8 JSON: no repeated keys, NaN, numbers out of range or half surrogates, which JSON allows."""
    try:
        text = data.decode()
        document = json.loads(text, object_pairs_hook=_unique, parse_float=_finite, parse_constant=_finite)
        if "\\u" in text:
            json.dumps(document, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as exc:
        raise _bad(f"a {what} that is not strict JSON ({exc})", "one UTF-8 JSON object") from exc
    if not isinstance(document, dict):
        raise _bad(f"the {what} {reprlib.repr(document)}", "a JSON object")
    return document


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ValueError("a key is repeated")
    return document


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:20]} is not a finite number")
    return number
