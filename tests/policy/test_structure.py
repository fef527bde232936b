"""The shape of the code base: a shallow import graph without circles, unique class names, tests that can be found."""

import ast
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

from policy.test_imports import APART, FILES, ROOT

DEEPEST = 9  # modules on the longest path of imports that happen when a module is loaded
LATE_IMPORTS = 40  # imports inside functions of the command, which keep `--help` fast
FOUND = 0.8  # share of the modules with a test file of their own
ARRAY = re.compile(r"\b(NDArray|ndarray|Tensor|Pixels)\b")
SHAPE = re.compile(r"\[[^\]]*\]|\bscalar\b|\b\d-d\b|\bany shape\b")


def name_of(path: Path) -> str:
    parts = path.with_suffix("").parts
    package = () if parts[0] in APART else ("shardline",)
    return ".".join((*package, *parts)).removesuffix(".__init__")


MODULES = {name_of(path): path for path in FILES}


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse((ROOT / path).read_text(encoding="utf-8"))


def imported(node: ast.AST, *, when_loaded: bool) -> Iterator[str]:
    """Our modules that a file imports; `when_loaded`: without imports in functions and imports for types alone."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names if alias.name in MODULES)
        elif isinstance(child, ast.ImportFrom) and child.module:
            names = [f"{child.module}.{alias.name}" for alias in child.names]
            yield from (name if name in MODULES else child.module for name in names)
        elif not (when_loaded and is_late(child)):
            yield from imported(child, when_loaded=when_loaded)


def is_late(node: ast.AST) -> bool:
    if isinstance(node, ast.If):
        return ast.unparse(node.test) == "TYPE_CHECKING"
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)


def graph(*, when_loaded: bool) -> dict[str, set[str]]:
    return {
        name: {other for other in imported(tree_of(path), when_loaded=when_loaded) if other in MODULES} - {name}
        for name, path in MODULES.items()
    }


def test_no_module_imports_itself_through_others() -> None:
    """Raises CycleError, which names the circle; imports in functions and for types count too."""
    # the package's own front door names modules of all folders, for types alone
    edges = {name: others - {"shardline"} for name, others in graph(when_loaded=False).items() if name != "shardline"}

    TopologicalSorter(edges).prepare()


def longest(edges: Mapping[str, set[str]]) -> list[str]:
    """The longest path of a graph without circles."""
    paths: dict[str, list[str]] = {}
    for name in TopologicalSorter(edges).static_order():
        paths[name] = [name, *max((paths[other] for other in edges.get(name, ())), key=len, default=[])]
    return max(paths.values(), key=len)


def test_the_import_graph_is_shallow() -> None:
    path = longest(graph(when_loaded=True))

    assert len(path) <= DEEPEST, " -> ".join(path)


def test_class_names_are_unique() -> None:
    places = defaultdict(list)
    for path in FILES:
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.ClassDef):
                places[node.name].append(str(path))

    assert {name: files for name, files in places.items() if len(set(files)) > 1} == {}


def test_commands_import_late_only_where_they_call() -> None:
    late = Counter(
        str(path)
        for path in FILES
        if path.parts[0] == "shardline"
        for function in ast.walk(tree_of(path))
        if isinstance(function, ast.FunctionDef)
        for node in ast.walk(function)
        if isinstance(node, ast.Import | ast.ImportFrom)
    )

    assert late.total() <= LATE_IMPORTS, late.most_common()


def test_tests_stand_where_their_modules_do() -> None:
    modules = [path for path in FILES if path.stem not in ("__init__", "__main__") and path.parts[0] != "examples"]
    without = [str(path) for path in modules if not (ROOT / "tests" / path.parent / f"test_{path.name}").is_file()]

    assert len(without) <= (1 - FOUND) * len(modules), without


def array_functions() -> Iterator[tuple[str, ast.FunctionDef]]:
    """Public functions and methods of public classes that take or return arrays."""
    for path in FILES:
        for node in tree_of(path).body:
            methods = node.body if isinstance(node, ast.ClassDef) and not node.name.startswith("_") else [node]
            for function in methods:
                if isinstance(function, ast.FunctionDef) and not function.name.startswith("_"):
                    arguments = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
                    hints = [argument.annotation for argument in arguments] + [function.returns]
                    if any(hint is not None and ARRAY.search(ast.unparse(hint)) for hint in hints):
                        yield f"{path}:{function.lineno} {function.name}", function


def test_array_functions_give_shapes() -> None:
    """Such as `uint8 [batch, 3, height, width]`."""
    without = [where for where, function in array_functions() if not SHAPE.search(ast.get_docstring(function) or "")]

    assert without == []
