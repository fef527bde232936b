"""Plain values -> protobuf's text format, in which Triton reads its configurations.

Not by tritonclient's own messages: they are registered under the names that KServe's have, and Python's protobuf takes
only one of the two into a process. What is written here is parsed with tritonclient's in the tests.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any


class Enum(str):
    """A name that is written without quotes: TYPE_FP32."""


def pbtxt(message: Mapping[str, Any]) -> str:
    """A message's fields, in their order: numbers, texts, `Enum`s, messages as mappings, and lists of any of these."""
    return "".join(f"{line}\n" for line in _fields(message))


def _fields(message: Mapping[str, Any]) -> Iterator[str]:
    for name, value in message.items():
        if isinstance(value, list) and value and all(isinstance(each, int) for each in value):
            yield f"{name}: [{', '.join(map(str, value))}]"
            continue
        for each in value if isinstance(value, list) else [value]:
            if isinstance(each, Mapping):
                yield f"{name} {{"
                yield from (f"  {line}" for line in _fields(each))
                yield "}"
            else:
                yield f"{name}: {_scalar(each)}"


def _scalar(value: object) -> str:
    if isinstance(value, Enum) or not isinstance(value, str):
        return str(value).lower() if isinstance(value, bool) else str(value)
    return json.dumps(value)  # its escapes are among C's, which the format has
