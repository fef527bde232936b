"""Bundle the modules of Shardline that an exported handler needs as a zip that Python imports from.

Code in another server's process must decode pictures, check frames and make replies exactly as Shardline does. So the
archive vendors Shardline's own modules, found by following imports; there is no second copy to keep equal.
"""

import ast
import importlib.util
import sys
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

_PACKAGE = "shardline"
_FOLDERS = frozenset({"wire", "storage", "tasks", "partition", "predictors"})
_LEFT_OUT = frozenset({"shardline.storage.gcs"})  # imported only by commands that are given a bucket's address
_TIME = (1980, 1, 1, 0, 0, 0)  # the earliest time of a zip: the same modules give the same bytes


def write_vendored(path: Path, roots: Iterable[str]) -> None:
    """Write the zip of the modules `roots` and of all modules of Shardline that they import."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, source in sorted(vendored_modules(roots).items()):
            entry = zipfile.ZipInfo(_path_in_zip(name, source), _TIME)
            archive.writestr(entry, source.read_bytes(), zipfile.ZIP_DEFLATED)


def vendored_modules(roots: Iterable[str]) -> dict[str, Path]:
    """Find the modules and packages that `roots` need, by full name, with their files."""
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


def third_party(roots: Iterable[str]) -> set[str]:
    """Find the top-level modules that are neither Shardline's nor Python's and are imported when `roots` are loaded."""
    sources = vendored_modules(roots).values()
    loaded = {name.partition(".")[0] for source in sources for name in _imports(source, lazy=False)}
    return loaded - {_PACKAGE} - sys.stdlib_module_names


def _source(name: str) -> Path | None:
    """File of one of Shardline's modules; None for a module of another package, and for a name inside a module."""
    package, _, inside = name.partition(".")
    if package != _PACKAGE or (inside and inside.partition(".")[0] not in _FOLDERS):
        return None
    try:
        spec = importlib.util.find_spec(name)
    except ModuleNotFoundError:  # its parent is a module, not a package
        return None
    return None if spec is None or spec.origin is None else Path(spec.origin)


def _imports(source: Path, *, lazy: bool = True) -> Iterator[str]:
    """Names that a file imports, those for type checkers left out; with `lazy` also those inside functions."""
    for node in _statements(ast.parse(source.read_text(encoding="utf-8")), lazy=lazy):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _statements(node: ast.AST, *, lazy: bool) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        yield child
        if lazy or not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield from _statements(child, lazy=lazy)


def _path_in_zip(name: str, source: Path) -> str:
    path = name.replace(".", "/")
    return f"{path}/__init__.py" if source.name == "__init__.py" else f"{path}.py"
