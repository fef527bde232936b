"""Conditions of a graph's steps: GJSON paths (github.com/tidwall/gjson) that hold if they match something in a body.

GJSON is a query language of its own. The subset that conditions use is supported, with GJSON's oddities:

    instances.0.modelId               keys of objects, indices of lists
    instances.#(modelId=="2").name    the first element of a list that matches: == != < <= > >=, or just that key exists
    predictions.#(>0.5)               the first match in a list of plain values
    [@this].#(picker==ERROR)          the whole body as the only element of a list; quotation marks may be left out

Everything else (wildcards, modifiers, pipes, counts, all matches at once) is refused when the graph is read. There is
one difference: GJSON searches for brackets even in a body that is a single JSON string.
"""

import json
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from shardline.manifests.gojson import is_json

_NAME = r"[A-Za-z0-9_-]+"
_QUOTED = r'"[^"\\~][^"\\]*"|""'  # GJSON reads a value that begins with ~ as a test for truth
_BARE = r"-?[A-Za-z0-9_][A-Za-z0-9_.+-]*"
_QUERY = re.compile(
    rf"#\( *(?P<path>{_NAME}(?:\.{_NAME})*)? *(?:(?P<op>[=!<>]=|[=<>]) *(?P<value>{_QUOTED}|{_BARE}) *)?\)"
)
_PART = re.compile(rf"(?P<name>{_NAME})|{_QUERY.pattern}")
_WHOLE = "[@this]."
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?|[+-]?inf(inity)?|nan", re.IGNORECASE)

_COMPARE: dict[str | None, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


class _Nothing:
    """The path matches nothing; a JSON null is a match."""


_NOTHING = _Nothing()


class _Object(tuple[tuple[str, Any], ...]):
    """The members of a JSON object in their order: of several with the same name GJSON takes the first."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """`#(path op value)`: the first matching element of a list. Without `op` the path need only exist."""

    path: tuple[str, ...]
    op: str | None
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """A parsed GJSON path."""

    parts: "tuple[str | Query, ...]"
    whole: bool  # applied to a list whose only element is the body

    def holds(self, document: Any) -> bool:
        """True if the path matches something in the result of `parse_body`."""
        return _find([document] if self.whole else document, self.parts) is not _NOTHING


def parse_condition(text: str) -> Condition:
    """Read a condition.

    Raises:
        ValueError: GJSON beyond the supported subset, or no GJSON at all.
    """
    whole = text.startswith(_WHOLE)
    rest = text.removeprefix(_WHOLE)
    parts = []
    while match := _PART.match(rest):
        parts.append(match["name"] or _query(match))
        rest = rest[match.end() :]
        if not rest:
            return Condition(parts=tuple(parts), whole=whole)
        if not rest.startswith("."):
            break
        rest = rest[1:]
    raise ValueError(f"this router supports names, numbers and #(name==value), not {rest!r}")


def _query(match: re.Match[str]) -> Query:
    value = match["value"] or ""
    return Query(
        path=tuple(match["path"].split(".")) if match["path"] else (),
        op=match["op"],
        value=value[1:-1] if value.startswith('"') else value,
    )


def parse_body(body: bytes) -> Any:
    """Parse a body for `Condition.holds`.

    Raises:
        ValueError: not JSON.
    """
    if not is_json(body):
        raise ValueError("not JSON")
    text = body.decode(errors="replace")
    return json.loads(text, parse_int=float, parse_float=float, object_pairs_hook=_Object)


def _find(value: Any, parts: "tuple[str | Query, ...]") -> Any:
    if not parts:
        return value
    part, rest = parts[0], parts[1:]
    match part, value:
        case str(), _Object():
            found = (_find(member, rest) for name, member in value if name == part)
            return next((match for match in found if match is not _NOTHING), _NOTHING)
        case str(), list():
            return _find(value[int(part)], rest) if part.isdecimal() and int(part) < len(value) else _NOTHING
        case Query(), list():
            first = next((element for element in value if _matches(element, part)), _NOTHING)
            return _find(first, rest)
        case _:
            return _NOTHING


def _matches(element: Any, query: Query) -> bool:
    """Compare an element with a query, as GJSON's queryMatches does."""
    plain = not isinstance(element, _Object | list)
    if plain and query.path:
        return False
    value = element if plain else _find(element, query.path or ("",))
    if value is _NOTHING or query.op is None:
        return value is not _NOTHING
    match value:
        case bool():
            return _truth_matches(value, query)
        case float():
            number = float(query.value) if _NUMBER.fullmatch(query.value) else 0.0
            return _COMPARE[query.op](value, number)
        case str():
            return _COMPARE[query.op](value, query.value)
        case _:
            return False


def _truth_matches(value: bool, query: Query) -> bool:
    """Compare booleans as GJSON does: true is > false, >= anything and never <= anything; false is the opposite."""
    own, other = ("true", "false") if value else ("false", "true")
    greater = ">" if value else "<"
    match query.op:
        case "=" | "==":
            return query.value == own
        case "!=":
            return query.value != own
        case op:
            return op == f"{greater}=" or (op == greater and query.value == other)
