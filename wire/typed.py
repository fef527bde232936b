"""JSON values as frozen dataclasses, with every field checked against its annotation.

A dataclass is the schema, so there is no second description that could drift from it. Lists become tuples; nothing else
is converted, so that a document can be written back byte for byte. The caller passes the error to raise, because only
the caller knows which document is at fault and what to do about it. docs/adr/0039 says why this is no library's.
"""

import json
import reprlib
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from pathlib import PurePosixPath
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

T = TypeVar("T")
Raised = Callable[[str], Exception]
Scalar = str | int | float  # a plain value of a document


class _MismatchSignal(Exception):  # noqa: N818 - it never leaves this module
    """Carries the first difference between a value and its annotation out of the recursion."""


def from_json(kind: type[T], data: bytes | str, *, error: Raised, where: str = "") -> T:
    """Parse a JSON text as `kind`, which `typed` describes.

    Raises:
        Exception: what `error` makes of one line, if the text is not JSON or does not fit `kind`.
    """
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as exc:
        raise error(f"it is not JSON: {exc}") from exc
    return typed(kind, document, where, error=error)


def typed(kind: type[T], value: object, where: str = "", *, error: Raised) -> T:
    """Check a parsed JSON value against `kind` and build it.

    Args:
        kind: a dataclass, tuple[X, ...], Mapping[str, X], Literal[...], a union or a plain type.
        value: what json.loads returned.
        where: the name of the value's place in its document, for the message.
        error: makes the exception from a message such as "stages[0].batch is str, not int".

    Raises:
        Exception: what `error` makes of the first difference.
    """
    try:
        result: T = _typed(kind, value, where)
    except _MismatchSignal as exc:
        raise error(str(exc)) from exc
    return result


def is_relative_path(name: str) -> bool:
    """Tell whether a text is a relative POSIX path in its shortest form that stays below its root: no '..', no '//'."""
    path = PurePosixPath(name)
    is_plain = path.as_posix() == name and "\\" not in name and name.isprintable()
    return is_plain and name != "." and not path.is_absolute() and ".." not in path.parts


def _typed(kind: Any, value: object, where: str) -> Any:
    if kind is object or kind is Any:
        return value
    if is_dataclass(kind):
        return _dataclass(kind, value, where)
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is UnionType:
        return _union(arguments, value, where)
    if origin is Literal:
        return _literal(arguments, value, where)
    if origin is tuple:
        items = _plain((list,), value, where)
        return tuple(_typed(arguments[0], item, f"{where}[{number}]") for number, item in enumerate(items))
    if origin is Mapping:
        entries = _plain((dict,), value, where)
        return {key: _typed(arguments[1], item, f"{where}[{key[:80]!r}]") for key, item in entries.items()}
    return _plain((kind,), value, where)


def _dataclass(kind: Any, value: object, where: str) -> Any:
    document = _plain((dict,), value, where)
    kinds, required = _schema(kind)
    for problem, names in ("lacks", required - document.keys()), ("has the unknown", document.keys() - kinds.keys()):
        if names:
            raise _MismatchSignal(f"{where or 'it'} {problem} {reprlib.repr(sorted(names))}")
    return kind(**{name: _typed(kinds[name], item, f"{where}.{name}".strip(".")) for name, item in document.items()})


@cache
def _schema(kind: Any) -> tuple[dict[str, Any], frozenset[str]]:
    """The annotation of every field of a dataclass, and the names of the fields without a default."""
    required = (field.name for field in fields(kind) if field.default is MISSING and field.default_factory is MISSING)
    return get_type_hints(kind), frozenset(required)


def _union(kinds: tuple[Any, ...], value: object, where: str) -> Any:
    if value is None and NoneType in kinds:
        return None
    others = tuple(kind for kind in kinds if kind is not NoneType)
    return _typed(others[0], value, where) if len(others) == 1 else _plain(others, value, where)


def _literal(allowed: tuple[str, ...], value: object, where: str) -> object:
    if not isinstance(value, str) or value not in allowed:
        raise _MismatchSignal(f"{where or 'it'} is {reprlib.repr(value)}, not one of {', '.join(allowed)}")
    return value


def _plain(kinds: tuple[type, ...], value: Any, where: str) -> Any:
    # bool is an int to isinstance, and a whole number is a fine float
    if type(value) not in kinds and not (float in kinds and type(value) is int):
        expected = " or ".join(kind.__name__ for kind in kinds)
        raise _MismatchSignal(f"{where or 'it'} is {type(value).__name__}, not {expected}")
    return value
