"""Go's encoding/json in Python, as far as the bytes that KServe's router sends depend on it.

Go reads every number as a float64, prints it in its own format, sorts keys, escapes <, > and &, matches the fields of a
struct case-insensitively, and accepts text that is not UTF-8. Python differs in all of these.
"""

import json
import math
import re
from decimal import Decimal
from typing import Any, NoReturn

# JSON never contains these bytes, not even in strings, so a frame or a picture is recognised by its first bytes.
_BINARY = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f]")
_KINDS = {list: "array", str: "string", float: "number", bool: "bool"}
_HTML = {ord(char): f"\\u{ord(char):04x}" for char in "<>&\u2028\u2029"}


def is_json(body: bytes) -> bool:
    """Validate as Go's json.Valid does, without parsing megabytes that cannot be JSON."""
    if _BINARY.search(body):
        return False
    try:
        # Numbers of any size and length are valid, so they are not converted.
        json.loads(_text(body), parse_int=str, parse_float=str, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return False
    return True


def map_predictions(body: bytes) -> bytes:
    """Rewrite `{"predictions": [..]}` to `{"instances": [..]}`, for a step with mapPredictionsToInstances.

    All other keys are dropped. A body that is not such an object, or whose list is empty, is returned unchanged
    (cmd/router/main.go routeStep, sequenceReqRes).
    """
    if _BINARY.search(body):
        return body
    try:
        predictions = _lists(_decode(body)).get("predictions")
        return encode({"instances": predictions}) if predictions else body
    except (ValueError, RecursionError):
        return body


def _lists(document: Any) -> dict[str, list[Any] | None]:
    """Find the fields that Go would fill, the last of each name; a wrong type is an error, as in Go."""
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise ValueError("not an object")
    fields = {key.lower(): value for key, value in document.items() if key.lower() in ("predictions", "instances")}
    if not all(isinstance(value, list | None) for value in fields.values()):
        raise ValueError("not a list")
    return fields


def decode_object(body: bytes) -> dict[str, Any] | None:
    """Parse the object in the response of an Ensemble's step; null gives None.

    Raises:
        ValueError: not an object; the message is Go's, except for some syntax errors.
    """
    try:
        document = _decode(body)
    except json.JSONDecodeError as exc:
        raise ValueError(_syntax_error(exc)) from exc
    except RecursionError as exc:
        raise ValueError("exceeded max depth") from exc
    if isinstance(document, dict | None):
        return document
    raise ValueError(f"json: cannot unmarshal {_KINDS[type(document)]} into Go value of type map[string]interface {{}}")


def _syntax_error(error: json.JSONDecodeError) -> str:
    if error.pos >= len(error.doc.rstrip()):
        return "unexpected end of JSON input"
    if error.msg == "Expecting value":
        return f"invalid character {error.doc[error.pos]!r} looking for beginning of value"
    return str(error)


def _decode(body: bytes) -> Any:
    """Parse as json.Unmarshal does into an interface{}: every number is a float64."""
    return json.loads(_text(body), parse_int=_number, parse_float=_number, parse_constant=_refuse)


def _text(body: bytes) -> str:
    return body.decode(errors="replace")


def _number(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"json: cannot unmarshal number {text} into Go value of type float64")
    return value


def _refuse(what: str) -> NoReturn:
    raise ValueError(f"invalid character {what[0]!r} looking for beginning of value")


def encode(document: Any) -> bytes:
    """Write the result of `_decode` as json.Marshal does."""
    return _encode(document).encode()


def _encode(value: Any) -> str:
    match value:
        case dict():
            return "{" + ",".join(f"{_string(key)}:{_encode(value[key])}" for key in sorted(value)) + "}"
        case list():
            return "[" + ",".join(map(_encode, value)) + "]"
        case str():
            return _string(value)
        case float():
            return _print(value)
        case _:
            return json.dumps(value)


def _string(value: str) -> str:
    whole = value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")  # Go: lone surrogates become U+FFFD
    return json.dumps(whole, ensure_ascii=False).translate(_HTML)


def _print(value: float) -> str:
    """Print a number as Go's floatEncoder does: 1.0 -> '1', 1e-7 -> '1e-7', 1e21 -> '1e+21'."""
    if value == 0 or 1e-6 <= abs(value) < 1e21:
        text = format(Decimal(repr(value)), "f")
        return text.removesuffix(".0")
    mantissa, exponent = repr(value).split("e")
    return f"{mantissa}e{int(exponent):+d}"
