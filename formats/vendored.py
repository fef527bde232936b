"""The modules of this project that some of its modules need, as a zip that Python imports from.

What runs in another server's process must decode pictures, check frames and make replies exactly as Shardline does.
So it carries that very code, found by following imports; there is no second copy to keep equal.
"""

import ast
import importlib.util
import sys
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

_PACKAGE = "shardline"
_FOLDERS = frozenset({"wire", "storage", "tasks", "partition", "predictors"})
_LEFT_OUT = frozenset(
    {"shardline.storage.gcs"}
)  # opened by commands that are given a bucket's address, and by nothing else
_TIME = (1980, 1, 1, 0, 0, 0)  # zip's first: the same modules make the same bytes


def write_carried(path: Path, roots: Iterable[str]) -> None:
    """Write the zip of `roots` and all that they import of this project's."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, source in sorted(carried(roots).items()):
            archive.writestr(zipfile.ZipInfo(_inside(name, source), _TIME), source.read_bytes(), zipfile.ZIP_DEFLATED)


def carried(roots: Iterable[str]) -> dict[str, Path]:
    """The full name of each module that is needed -> its file; packages are modules too."""
    found: dict[str, Path] = {}
    waiting = list(roots)
    while waiting:
        name = waiting.pop()
        source = None if name in found or name in _LEFT_OUT else _source(name)
        if source is None:
            continue
        found[name] = source
        waiting += [name.rpartition(".")[0], *_imports(source)]
    return found


def foreign(roots: Iterable[str]) -> set[str]:
    """The top-level names of what these modules import when they are loaded, and neither is ours nor Python's."""
    loaded = {name.partition(".")[0] for source in carried(roots).values() for name in _imports(source, lazy=False)}
    return loaded - {_PACKAGE} - sys.stdlib_module_names


def _source(name: str) -> Path | None:
    """The file of a module of ours; None where the name is not one: another's, or that of a function in a module."""
    package, _, inside = name.partition(".")
    if package != _PACKAGE or (inside and inside.partition(".")[0] not in _FOLDERS):
        return None
    try:
        spec = importlib.util.find_spec(name)
    except ModuleNotFoundError:  # its parent is a module, not a package
        return None
    return None if spec is None or spec.origin is None else Path(spec.origin)


def _imports(source: Path, *, lazy: bool = True) -> Iterator[str]:
    tree = ast.parse(source.read_text(encoding="utf-8"))
    for node in ast.walk(tree) if lazy else tree.body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _inside(name: str, source: Path) -> str:
    path = name.replace(".", "/")
    return f"{path}/__init__.py" if source.name == "__init__.py" else f"{path}.py"
