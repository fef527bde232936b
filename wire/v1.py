"""Request bodies of KServe's v1 predict protocol: JSON in all forms that users send, or a picture's own bytes.

A body is recognised by its first bytes and never by its Content-Type, which KServe's router rewrites and users get
wrong: a body that starts like a picture is one picture, every other body must be JSON:

    {"instances": [INSTANCE, …], "parameters": {…}}

    INSTANCE = {"image_bytes": PICTURE} | {"image": PICTURE} | {"data": PICTURE} | {"b64": "…"} | "…"
    PICTURE  = {"b64": "…"} | "…"

Where a model takes more than the picture, an instance gives the further inputs by their names as well:

    INSTANCE = {"image_bytes": PICTURE, "mask": [[…]], "reference": PICTURE}

"…" is base64, with or without line breaks and a `data:image/…;base64,` in front. This module does not decode pictures.
"""

import base64
import binascii
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NoReturn

from shardline.wire.errors import PictureError, RequestError, TooLargeError
from shardline.wire.limits import JSON_VALUES

PICTURE_FORMATS = ("JPEG", "PNG", "WebP", "GIF", "BMP", "TIFF")
CHAIN_PARAMETERS = frozenset({"timings"})  # handled by the chain itself; all others are the task's
PICTURE_KEYS = ("image_bytes", "image", "data")

_SIGNATURES = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"BM", "BMP"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),  # BigTIFF
    (b"MM\0+", "TIFF"),
)
# bounded, since it is tried on texts of many megabytes
_DATA_URL = re.compile(
    r"\s{0,64}data:image/[-+.\w]{0,64}(?:;[-\w]{1,64}=[-\w.]{0,64}){0,8};base64,", re.ASCII | re.IGNORECASE
)
_FORM = re.compile(rb"[\w.%-]{1,60}=[^\s{\"]")
_EXAMPLE = '{"instances": [{"image_bytes": {"b64": "…"}}]}'
_ALLOWED = "allowed are a base64 string or an object with one of the keys image_bytes, image, data, b64"
_REMEDY = 'send {"image_bytes": {"b64": "…"}}'


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictRequest:
    """The pictures of one request, still encoded, and its parameters.

    `inputs` are the inputs beside the pictures by name, with a JSON value for each instance.
    """

    pictures: tuple[bytes, ...]
    parameters: Mapping[str, object] = field(default_factory=dict)
    inputs: Mapping[str, tuple[object, ...]] = field(default_factory=dict)


def picture_format(body: bytes) -> str | None:
    """Format of a picture by its first bytes, one of PICTURE_FORMATS, or None."""
    if body[:4] == b"RIFF" and body[8:12] == b"WEBP":
        return "WebP"
    return next((name for signature, name in _SIGNATURES if body.startswith(signature)), None)


def is_picture(body: bytes) -> bool:
    """Tell whether a body starts like a picture."""
    return picture_format(body) is not None


def parse_request(body: bytes, inputs: Sequence[str] = (), *, most_values: int = JSON_VALUES) -> PredictRequest:
    """Parse the raw body of a predict request, whatever its Content-Type, into one picture or more.

    Args:
        inputs: names of the inputs that each instance gives beside its picture.
        most_values: the most values that JSON may hold.

    Raises:
        PictureError: an instance's base64 is broken or holds nothing.
        RequestError: the body is neither a picture nor v1 JSON, or an instance lacks an input.
        TooLargeError: the JSON holds more values, which would take long to parse.
    """
    if is_picture(body):
        if inputs:
            raise RequestError(
                f"the body is a picture alone; the model also takes {_and(inputs)}: send {_example(inputs)}"
            )
        return PredictRequest(pictures=(body,))
    document = _parse_json(body, most_values)
    if not isinstance(document, dict):
        raise RequestError(f"the body is {describe(document)}; allowed is an object: send {_EXAMPLE}")
    _check_keys(document)
    instances = document["instances"]
    if not isinstance(instances, list) or not instances:
        raise RequestError(f"instances is {describe(instances)}; allowed is a list of at least one: send {_EXAMPLE}")
    further = [_take_inputs(instance, inputs, index) for index, instance in enumerate(instances)] if inputs else []
    return PredictRequest(
        pictures=tuple(_picture(instance, index) for index, instance in enumerate(instances)),
        parameters=_parameters(document.get("parameters", {})),
        inputs={name: tuple(taken[name] for taken in further) for name in inputs},
    )


def encode_request(
    pictures: Sequence[bytes],
    parameters: Mapping[str, object] | None = None,
    inputs: Sequence[Mapping[str, object]] = (),
) -> bytes:
    """Encode pictures as the body of a predict request, the inverse of `parse_request`.

    Args:
        inputs: JSON values of the inputs beside each picture, by name; empty where the model takes none.
    """
    document: dict[str, object] = {
        "instances": [
            {"image_bytes": {"b64": base64.b64encode(picture).decode()}, **further}
            for picture, further in zip(pictures, inputs or [{}] * len(pictures), strict=True)
        ]
    }
    if parameters:
        document["parameters"] = dict(parameters)
    return json.dumps(document, allow_nan=False).encode()


def check_instances(count: int, allowed: int) -> None:
    """Check the number of instances in a request.

    Raises:
        TooLargeError: more than `allowed`.
    """
    if count > allowed:
        raise TooLargeError(f"the request has {count} instances; allowed are {allowed}: send them in several requests")


def _parse_json(body: bytes, most_values: int) -> object:
    if not body.strip():
        raise RequestError(
            f"the body is empty: POST a picture's own bytes or {_EXAMPLE}; a graph's router has no path but /readyz "
            "and passes a GET on, too"
        )
    # each value but the first follows one of these; those in texts count as well, where base64 has none
    values = sum(body.count(separator) for separator in (b",", b"[", b"{"))
    if values > most_values:
        raise TooLargeError(
            f"the body's JSON has about {values} values; allowed are {most_values}: send fewer instances, or a "
            "picture's own bytes"
        )
    try:
        return json.loads(body, parse_constant=_refuse_number, parse_float=_finite, parse_int=_whole)
    except RecursionError as exc:
        raise RequestError(f"the body's JSON is nested too deeply: send {_EXAMPLE}") from exc
    except ValueError as exc:  # both JSONDecodeError and UnicodeDecodeError
        if found := _wrapping(body):
            raise RequestError(f"the body is {found}: send a picture's own bytes or {_EXAMPLE}") from exc
        kinds = ", ".join(PICTURE_FORMATS)
        raise RequestError(
            f"the body is neither JSON ({exc}) nor a picture ({kinds}): send a picture's own bytes or {_EXAMPLE}"
        ) from exc


def _wrapping(body: bytes) -> str:
    """Name what a picture or JSON is wrapped in, or "": a server takes neither compressed bodies nor forms."""
    if body.startswith(b"\x1f\x8b"):
        return "compressed by gzip, which is not taken"
    if body.startswith(b"\x28\xb5\x2f\xfd"):
        return "compressed by zstd, which is not taken"
    if body.startswith(b"--") and b"Content-Disposition:" in body[:1000]:
        return "a form (multipart/form-data), which is not taken; curl sends a file by --data-binary @FILE, not by -F"
    if _FORM.match(body):
        return "a form (application/x-www-form-urlencoded), which is not taken"
    if body[4:12] in (b"ftypheic", b"ftypheix", b"ftypmif1", b"ftypavif"):
        return "a HEIC or AVIF picture, which is not taken: save it as JPEG"
    return ""


def _refuse_number(text: str) -> NoReturn:
    shown = text if len(text) <= 20 else f"a number of {len(text)} characters"
    raise RequestError(f"the body holds {shown}; allowed are finite numbers of a usual size: leave it out")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        _refuse_number(text)
    return number


def _whole(text: str) -> int:
    # JSON parsers differ beyond 64 bits, and Python refuses to convert thousands of digits
    if len(text) > 20:
        _refuse_number(text)
    return int(text)


def _check_keys(document: Mapping[str, object]) -> None:
    unknown = [key for key in document if key not in ("instances", "parameters")]
    if unknown:
        raise RequestError(
            f"the body has the unknown {_keys(unknown)}; allowed are instances and parameters: send {_EXAMPLE}"
        )
    if "instances" not in document:
        raise RequestError(f"the body has no instances: send {_EXAMPLE}")


def _parameters(parameters: object) -> Mapping[str, object]:
    if not isinstance(parameters, dict):
        raise RequestError(f"parameters is {describe(parameters)}; allowed is an object: leave it out or send {{}}")
    try:
        json.dumps(parameters, ensure_ascii=False).encode()
    except (UnicodeEncodeError, RecursionError) as exc:
        # such a value can be read here, but not written again by the next program
        raise RequestError("parameters cannot be written as UTF-8 JSON (half a surrogate pair?): correct it") from exc
    return parameters


def _take_inputs(instance: object, names: Sequence[str], index: int) -> dict[str, object]:
    """Take the further inputs out of an instance, so that only its picture is left."""
    if not isinstance(instance, dict) or any(name not in instance for name in names):
        missing = [name for name in names if not isinstance(instance, dict) or name not in instance]
        raise RequestError(
            f"instance {index}: {_and(missing)} is missing; the model takes {_and(names)} beside the picture: send "
            f"{_example(names)}"
        )
    return {name: instance.pop(name) for name in names}


def _and(names: Sequence[str]) -> str:
    return " and ".join((", ".join(names[:-1]), names[-1]) if len(names) > 1 else names)


def _example(names: Sequence[str]) -> str:
    further = "".join(f', "{name}": …' for name in names)
    return f'{{"instances": [{{"image_bytes": {{"b64": "…"}}{further}}}]}}'


def _picture(instance: object, index: int) -> bytes:
    """Bytes of one instance's picture, still encoded."""
    if isinstance(instance, dict):
        instance = _only_value(instance, index)
    return picture_bytes(instance, f"instance {index}")


def picture_bytes(value: object, where: str) -> bytes:
    """Read a picture, {"b64": "…"} or "…", into its bytes, still encoded.

    Args:
        where: the value's place in the request, for messages.

    Raises:
        PictureError: broken base64, or nothing.
        RequestError: another JSON value.
    """
    if isinstance(value, dict) and list(value) == ["b64"]:
        value = value["b64"]
    if not isinstance(value, str):
        raise RequestError(f"{where}: found {describe(value)}; {_ALLOWED}: {_REMEDY}")
    return base64_bytes(value, where)


def _only_value(instance: Mapping[str, object], index: int) -> object:
    keys = list(instance)
    if len(keys) != 1 or keys[0] not in (*PICTURE_KEYS, "b64"):
        raise RequestError(f"instance {index}: found {describe(instance)}; {_ALLOWED}: {_REMEDY}")
    if keys == ["b64"] and not isinstance(instance["b64"], str):
        raise RequestError(
            f"instance {index}: b64 is {describe(instance['b64'])}; allowed is a base64 string: {_REMEDY}"
        )
    return instance[keys[0]]


def base64_bytes(text: str, where: str) -> bytes:
    """Decode base64, with or without line breaks and a `data:` prefix.

    Raises:
        PictureError: broken base64, or nothing.
    """
    prefix = _DATA_URL.match(text)
    try:
        # the command `base64` without -w0 breaks lines; bytes.translate is the fastest way to drop the breaks
        digits = text[prefix.end() if prefix else 0 :].encode("ascii").translate(None, b" \t\r\n")
        picture = binascii.a2b_base64(digits, strict_mode=True)
    except ValueError as exc:  # both binascii.Error and UnicodeEncodeError
        why = "a character outside of ASCII" if isinstance(exc, UnicodeEncodeError) else exc
        raise PictureError(f"{where}: broken base64 ({why}): encode the picture's bytes again") from exc
    if not picture:
        raise PictureError(f"{where}: the picture is empty: send its bytes as base64")
    return picture


def describe(value: object) -> str:
    """Describe a wrong value in a message by its type, repeating no more of it than is safe."""
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case int() | float():
            return "a number"
        case str():
            return "a string"
        case list():
            return f"a list of {len(value)}" if value else "an empty list"
        case dict():
            return f"an object with the {_keys(list(value))}" if value else "an empty object"
    return type(value).__name__


def _keys(keys: Sequence[str]) -> str:
    """Keys for a message: a few, shortened, and escaped by ascii(), since they may hold anything."""
    shown = ", ".join(ascii(key[:30]) for key in keys[:4]) + (", …" if len(keys) > 4 else "")
    return f"key{'s' if len(keys) > 1 else ''} {shown}"
