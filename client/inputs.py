"""Further inputs of a model that `--input` gives beside each picture: JSON, or the content of a file.

scale=0.5              JSON: a number or nested lists
mask=@mask.npy         an array that numpy saved, as nested lists
reference=@other.png   a picture; @values.json is a file with JSON
"""

import base64
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

import numpy as np

from shardline.client.pictures import has_picture_suffix
from shardline.wire.errors import FileError, UsageError
from shardline.wire.files import read_bounded

_FORMS = "write NAME=JSON, NAME=@FILE.npy, NAME=@FILE.json or NAME=@PICTURE"


def read_inputs(texts: Sequence[str]) -> Mapping[str, object]:
    """Read the values of inputs by name, as a v1 request gives them.

    Raises:
        UsageError: another form, or a name twice.
        FileError: a file that cannot be read, or holds something else.
    """
    values: dict[str, object] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        name = name.strip()
        if not equals or not name.isidentifier():
            raise UsageError(f"--input {text[:40]!r}: {_FORMS}")
        if name in values:
            raise UsageError(f"--input {name}=… is given twice: give each input once")
        values[name] = _from_file(name, Path(value[1:])) if value.startswith("@") else _from_json(name, value)
    return values


def _from_file(name: str, path: Path) -> object:
    try:
        if path.suffix == ".npy":
            return _from_array(name, np.load(path, allow_pickle=False))
        data = read_bounded(path)
    except (OSError, ValueError, EOFError) as exc:
        reason = getattr(exc, "strerror", None) or exc
        raise FileError(f"--input {name}=@{path} cannot be read ({reason}): {_FORMS}") from exc
    if path.suffix == ".json":
        return _from_json(name, data.decode(errors="replace"))
    if has_picture_suffix(path.name):
        return {"b64": base64.b64encode(data).decode()}
    raise UsageError(f"--input {name}=@{path}: a file is .npy, .json or a picture: {_FORMS}")


def _from_array(name: str, array: np.ndarray) -> object:
    if array.dtype.kind not in "biuf" or not np.isfinite(array).all():
        raise FileError(f"--input {name}: the array is {array.dtype}{list(array.shape)}; allowed are finite numbers")
    return array.tolist()


def _from_json(name: str, text: str) -> object:
    try:
        return json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError) as exc:
        raise UsageError(f"--input {name}={text[:40]!r} is not JSON ({exc}): {_FORMS}") from exc


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not a finite number")
