"""Text form of a model's inputs beside the first picture, as options and manifests write it.

mask=float32[1,32,32]     a tensor of each instance, as nested lists in the request
temperature=float32       a number of each instance
reference=picture         a further picture, prepared like the first
"""

import re
from collections.abc import Sequence

from shardline.storage.bundle import DTYPE_NAMES, INPUT_NAME, RESERVED_NAMES, InputSpec
from shardline.wire.errors import UsageError

_TEXT = re.compile(r"([^=]*)=\s*([a-z0-9]+)\s*(?:\[([0-9,\s]*)\])?\s*")
_MOST_VALUES = 2**26  # of one instance; more could not be sent anyway
_FORMS = "write NAME=picture or NAME=DTYPE[SHAPE of one instance], e.g. mask=float32[1,32,32]"


def parse_input(text: str) -> InputSpec:
    """Read the text form of an input: 'mask=float32[1,32,32]', 'temperature=float32' or 'reference=picture'.

    Raises:
        UsageError: another form, or a name that is the first picture's.
    """
    match = _TEXT.fullmatch(text)
    if match is None:
        raise UsageError(f"--input {text!r}: {_FORMS}")
    name, kind, shape = match[1].strip(), match[2], match[3]
    if not INPUT_NAME.fullmatch(name):
        raise UsageError(f"--input {text!r}: the name must be a parameter of the model's forward: {_FORMS}")
    if name in RESERVED_NAMES:
        raise UsageError(f"--input {text!r}: {name} names the first picture in a request: rename forward's parameter")
    if kind == "picture" and shape is None:
        return InputSpec(name=name, kind="picture")
    if kind not in DTYPE_NAMES:
        raise UsageError(
            f"--input {text!r}: {kind} is no dtype; allowed are picture, {', '.join(DTYPE_NAMES)}: {_FORMS}"
        )
    return InputSpec(name=name, kind="tensor", dtype=DTYPE_NAMES[kind], shape=_shape(shape or "", text))


def parse_inputs(texts: Sequence[str]) -> tuple[InputSpec, ...]:
    """Read the text forms of several inputs, whose names must differ.

    Raises:
        UsageError: see `parse_input`; or a name twice.
    """
    specs = tuple(parse_input(text) for text in texts)
    names = [spec.name for spec in specs]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UsageError(f"--input {twice[0]}=… is given twice: give each input once")
    return specs


def _shape(text: str, whole: str) -> tuple[int, ...]:
    parts = [part.strip() for part in text.split(",")] if text.strip() else []
    values = 1
    for part in parts:
        if not part.isdecimal() or not 0 < int(part) <= _MOST_VALUES:
            raise UsageError(f"--input {whole!r}: the shape's dimensions must be numbers from 1: {_FORMS}")
        values *= int(part)
    if values > _MOST_VALUES:
        raise UsageError(f"--input {whole!r}: {values} values in one instance; allowed are {_MOST_VALUES}")
    return tuple(int(part) for part in parts)
