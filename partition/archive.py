"""What an exported program's archive asks of its loader, looked at before it is loaded.

`torch.export.load` unpickles weights that say so, falls back to full unpickling of sample inputs, and evaluates the
expressions of symbolic dimensions (torch/export/pt2_archive/_package.py, torch/_export/serde/serialize.py). A shard
that Shardline wrote asks for none of these, so an archive that does is refused.
"""

import ast
import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from wire.errors import BundleError

# sympy's constructors for the sizes of tensors, as sympy.srepr writes them; whatever else is called is refused.
_ARITHMETIC = {"Symbol", "Integer", "Rational", "Add", "Mul", "Pow", "FloorDiv", "CleanDiv", "Mod", "PythonMod",
               "Max", "Min", "Eq", "Ne", "Le", "Lt", "Ge", "Gt"}  # fmt: skip
_SYMBOL = re.compile(r"[a-z]+\d*")
_NODES = (ast.Expression, ast.Call, ast.Name, ast.Load, ast.Constant, ast.keyword, ast.UnaryOp, ast.USub)
_LONGEST_EXPRESSION = 1000  # characters


def check_archive(path: Path) -> None:
    """Refuse an archive whose loading could run code.

    Raises:
        BundleError: it is not a readable archive, asks for pickle, or holds an expression that is not arithmetic.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                _check_member(path, archive, name)
    except (zipfile.BadZipFile, OSError, ValueError, RuntimeError) as exc:
        raise BundleError(f"{path.name} is not an exported program's archive ({exc}): build it again") from exc


def _check_member(path: Path, archive: zipfile.ZipFile, name: str) -> None:
    if "/sample_inputs/" in name and archive.getinfo(name).file_size:
        raise BundleError(f"{path.name} asks for pickle ({name}): save it without example inputs")
    if "/constants/" in name and "custom_obj" in name:
        raise BundleError(f"{path.name} asks for pickle ({name}): only tensors are allowed")
    if name.endswith("_config.json") and any(_values(json.loads(archive.read(name)), "use_pickle")):
        raise BundleError(f"{path.name} asks for pickle ({name}): save it with plain tensors")
    if "/models/" in name and name.endswith(".json"):
        for expression in _values(json.loads(archive.read(name)), "expr_str"):
            if not _is_arithmetic(expression):
                raise BundleError(f"{path.name} has a size that is not arithmetic: {str(expression)[:60]!r}")


def _is_arithmetic(expression: Any) -> bool:
    if not isinstance(expression, str) or len(expression) > _LONGEST_EXPRESSION:
        return False
    try:
        return all(_is_arithmetic_node(node) for node in ast.walk(ast.parse(expression, mode="eval")))
    except (SyntaxError, RecursionError, MemoryError):
        return False


def _is_arithmetic_node(node: ast.AST) -> bool:
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Name)  # and ast.walk looks at the name itself
    if isinstance(node, ast.Name):
        return node.id in _ARITHMETIC
    if isinstance(node, ast.Constant):
        return isinstance(node.value, int) or (isinstance(node.value, str) and bool(_SYMBOL.fullmatch(node.value)))
    return isinstance(node, _NODES)


def _values(document: Any, key: str) -> Iterator[Any]:
    """Every value under `key`, however deep, without recursion: a hostile document may be nested without end."""
    waiting = [document]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            if key in item:
                yield item[key]
            waiting.extend(item.values())
        elif isinstance(item, list):
            waiting.extend(item)
