"""JSON values -> frozen dataclasses, every field checked against its annotation.

A dataclass is the schema: no second description that could drift from it. Lists become tuples; nothing is converted,
so that what is read can be written back byte for byte.
"""

import reprlib
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints


class MismatchError(ValueError):
    """`where` and what was found there: the caller knows which document it is and what to do."""


def typed(kind: Any, value: object, where: str = "") -> Any:
    """`value`, as json.loads gives it, as `kind`: a dataclass, tuple[X, ...], Mapping[str, X], union or plain type.

    Raises:
        MismatchError: the first place where they differ.
    """
    if kind is object or kind is Any:
        return value
    if is_dataclass(kind):
        return _dataclass(kind, value, where)
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is UnionType:
        return _union(arguments, value, where)
    if origin is tuple:
        items = _plain((list,), value, where)
        return tuple(typed(arguments[0], item, f"{where}[{number}]") for number, item in enumerate(items))
    if origin is Mapping:
        entries = _plain((dict,), value, where)
        return {key: typed(arguments[1], item, f"{where}[{key[:80]!r}]") for key, item in entries.items()}
    return _plain((kind,), value, where)


def _dataclass(kind: Any, value: object, where: str) -> Any:
    document = _plain((dict,), value, where)
    kinds, required = _schema(kind)
    for problem, names in ("lacks", required - document.keys()), ("has the unknown", document.keys() - kinds.keys()):
        if names:
            raise MismatchError(f"{where or 'it'} {problem} {reprlib.repr(sorted(names))}")
    return kind(**{name: typed(kinds[name], item, f"{where}.{name}".strip(".")) for name, item in document.items()})


@cache
def _schema(kind: Any) -> tuple[dict[str, Any], frozenset[str]]:
    """-> the annotation of every field, the names of those without a default."""
    required = (field.name for field in fields(kind) if field.default is MISSING and field.default_factory is MISSING)
    return get_type_hints(kind), frozenset(required)


def _union(kinds: tuple[Any, ...], value: object, where: str) -> Any:
    if value is None and NoneType in kinds:
        return None
    others = tuple(kind for kind in kinds if kind is not NoneType)
    return typed(others[0], value, where) if len(others) == 1 else _plain(others, value, where)


def _plain(kinds: tuple[type, ...], value: Any, where: str) -> Any:
    # bool is an int to isinstance, and a whole number is a fine float
    if type(value) not in kinds and not (float in kinds and type(value) is int):
        expected = " or ".join(kind.__name__ for kind in kinds)
        raise MismatchError(f"{where or 'it'} is {type(value).__name__}, not {expected}")
    return value
