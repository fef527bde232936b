"""The pages say what the code does: generated ones are up to date, links lead somewhere, examples can be typed."""

import ast
import importlib.util
import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import shardline
from shardline.__main__ import app
from shardline.client.request import make_parser
from shardline.wire import errors

ROOT = Path(__file__).parents[2]
PAGES = [
    *("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"),
    *sorted(page.relative_to(ROOT).as_posix() for page in ROOT.glob("docs/**/*.md")),
]

LINK = re.compile(r"\]\(([^)\s]+)\)")
BLOCK = re.compile(r"^```(?P<kind>sh|console)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"(?<!`)`(?P<code>[^`\n]+)`(?!`)")
# bundles/ is what the commands of the pages build
FOLDERS = {path.name for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith(".")} - {"bundles"}
PLACEHOLDER = re.compile(r"[A-Z]{2}")
# names of labels, annotations and images, which look like paths
NO_PATH = re.compile(r"shardline/(bundle|bundle-digest|stage|phase|shard|transformer|client)")
# a folder of one machine; /mnt/models is KServe's own
MACHINE_PATH = re.compile(r"(?<![\w.})])/(work|root|home|Users|tmp|opt|srv)/")


def load_generator() -> Any:
    """docs/ is no package: its script is loaded by path."""
    spec = importlib.util.spec_from_file_location("docs_generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


GENERATE = load_generator()


def read(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def typed_lines(page: str) -> Iterator[str]:
    """Every line of a page that a reader types into a shell; one that ends in a backslash goes on in the next."""
    for block in BLOCK.finditer(read(page)):
        for line in re.sub(r"\\\n\s*", "", block["text"]).splitlines():
            if block["kind"] == "sh":
                yield line
            elif line.startswith("$ "):
                yield line.removeprefix("$ ")


def typed(program: str) -> list[Any]:
    """(page, arguments) of every line that calls `program`."""
    lines = ((page, line) for page in PAGES for line in typed_lines(page) if line.startswith(f"{program} "))
    return [
        pytest.param(page, shlex.split(line.removeprefix(program), comments=True), id=f"{page}: {line}")
        for page, line in lines
    ]


def inline_codes(page: str) -> list[str]:
    """Every inline code of a page, without those in blocks."""
    prose = re.sub(r"^```.*?^```$", "", read(page), flags=re.MULTILINE | re.DOTALL)
    return [match["code"] for match in INLINE.finditer(prose)]


def is_defined(name: str) -> bool:
    """True for the dotted name of a module, or of a class or function in one; and for the names of the public API."""
    parts = name.split(".")
    if len(parts) == 2 and parts[1] in (*dir(shardline), *getattr(shardline, "__all__", ())):
        return True
    for length in range(len(parts), 0, -1):
        stem = ROOT.joinpath(*parts[:length])
        module = stem / "__init__.py" if stem.is_dir() else stem.with_suffix(".py")
        if module.is_file():
            return length == len(parts) or parts[length] in names_of(module)
    return False


@cache
def names_of(module: Path) -> set[str]:
    nodes = ast.walk(ast.parse(module.read_text(encoding="utf-8")))
    return {
        name
        for node in nodes
        for name in (
            [node.name]
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
            else [node.id]
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
            else []
        )
    }


@cache
def defined_tests() -> set[str]:
    """The names of all tests, and of the classes that hold some."""
    return set().union(*(names_of(path) for path in ROOT.glob("tests/**/test_*.py")))


@pytest.mark.parametrize("page", GENERATE.PAGES)
def test_generated_pages_are_up_to_date(page: str) -> None:
    """README.md too: its list of folders is the disk's; docs/files.md has what each file says of itself."""
    assert read(page) == GENERATE.PAGES[page](), "run: python docs/generate.py"


def test_generating_depends_on_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    before = {name: page() for name, page in GENERATE.PAGES.items()}
    for name, value in {"COLUMNS": "40", "SHARDLINE_URL": "http://elsewhere", "FORCE_COLOR": "1"}.items():
        monkeypatch.setenv(name, value)

    assert {name: page() for name, page in GENERATE.PAGES.items()} == before


def test_files_without_git() -> None:
    """A copy of the repository without .git has no list to ask for; what is walked has every file that git knows."""
    walked = {Path(name) for name in GENERATE._walk()}

    assert set(GENERATE.files()) <= walked


def test_error_tree_is_drawn_right() -> None:
    """wire/errors.py draws its classes in its docstring: the same ones, in the same places, with the same statuses."""
    drawn = GENERATE.error_tree()
    classes = {
        name: error
        for name, error in vars(errors).items()
        if isinstance(error, type) and issubclass(error, errors.ShardlineError)
    }
    parents: list[str] = []
    for branch in drawn:
        parents[branch.depth :] = [branch.name]
        error = classes[branch.name]

        assert [base.__name__ for base in error.__mro__[branch.depth :: -1]] == parents
        assert branch.status in ("", "any", str(error.status))

    assert [branch.name for branch in drawn] == list(classes)


@pytest.mark.parametrize("name", GENERATE.commands())
def test_commands_have_help_and_an_example(name: str) -> None:
    result = CliRunner().invoke(app, [*name.split(), "--help"])
    command = GENERATE.commands()[name]

    assert result.exit_code == 0
    assert command.help.endswith(".")
    assert command.epilog.startswith(f"Example: shardline {name} ")
    assert f"\n## {name}\n" in read("docs/commands.md")
    assert all(option.help for option in command.params if name != "request")


@pytest.mark.parametrize(("page", "arguments"), typed("shardline"))
def test_commands_on_pages_can_be_typed(page: str, arguments: list[str]) -> None:  # noqa: ARG001  # for the test's name
    """Parsed by the command itself, and not run: an unknown option or one that lacks its value raises."""
    words = 2 if " ".join(arguments[:2]) in GENERATE.commands() else 1
    name, rest = " ".join(arguments[:words]), arguments[words:]
    if name == "request":
        make_parser().parse_args(rest)
    else:
        GENERATE.commands()[name].make_context(name, rest)


@pytest.mark.parametrize(("page", "arguments"), typed("python client/request.py"))
def test_requests_on_pages_can_be_typed(page: str, arguments: list[str]) -> None:  # noqa: ARG001  # for the test's name
    make_parser().parse_args(arguments)


@pytest.mark.parametrize("page", PAGES)
def test_commands_in_sentences_exist(page: str) -> None:
    """`shardline COMMAND --option`, in the middle of a sentence: the command has these options."""
    commands = GENERATE.commands()
    wrong = []
    for code in inline_codes(page):
        words = code.split()
        if words[0] != "shardline" or len(words) == 1 or words[1].startswith("-") or words[1].isupper():
            continue
        groups = {name.partition(" ")[0] for name in commands}
        name = next((name for name in (" ".join(words[1:3]), words[1]) if name in commands), "")
        known = {*make_parser()._option_string_actions} if name == "request" else set()
        if name and name != "request":
            known = {option for parameter in commands[name].params for option in parameter.opts}
        options = {word.partition("=")[0] for word in words if word.startswith("--")}
        if (not name and (words[1] not in groups or options)) or not options <= known:
            wrong.append(code)

    assert wrong == []


@pytest.mark.parametrize("page", [page for page in PAGES if not page.startswith("docs/adr/")])
def test_paths_and_modules_on_pages_exist(page: str) -> None:
    """A path that begins with a folder of the repository, and a dotted name.

    The reader replaces words in capitals. Decisions are left out: they also name what they removed.
    """
    wrong = []
    for code in inline_codes(page):
        path = code.partition(":")[0].rstrip("/")
        if re.fullmatch(r"[\w.-]+(/[\w.-]+)+", path) and path.partition("/")[0] in FOLDERS:
            wrong += [] if PLACEHOLDER.search(path) or NO_PATH.match(path) or (ROOT / path).exists() else [code]
        for name in re.findall(r"(?<![\w./-])shardline(?:\.\w+)+", code):
            wrong += [] if PLACEHOLDER.search(name) or is_defined(name) else [code]

    assert wrong == []


@pytest.mark.parametrize("page", PAGES)
def test_imports_in_examples_exist(page: str) -> None:
    """Each `from shardline.module import name` in a block of Python, or of shell that holds Python."""
    imports = re.findall(r"^from (shardline[\w.]*) import ([\w, ]+)$", read(page), re.MULTILINE)

    assert [
        f"{module}.{name}"
        for module, names in imports
        for name in names.split(", ")
        if not is_defined(f"{module}.{name}")
    ] == []


@pytest.mark.parametrize("page", [page for page in PAGES if page != "docs/conformance.md"])
def test_tests_on_pages_exist(page: str) -> None:
    named = {part for code in inline_codes(page) for part in re.findall(r"(?<![/\w])(?:test_|Test)\w+(?![\w.])", code)}

    assert named - defined_tests() == set()


@pytest.mark.parametrize(("page", "arguments"), typed("make"))
def test_make_targets_on_pages_exist(page: str, arguments: list[str]) -> None:  # noqa: ARG001  # for the test's name
    targets = set(re.findall(r"^([a-z-]+):", read("Makefile"), re.MULTILINE))

    assert {argument for argument in arguments if "=" not in argument} <= targets


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    links = [link.partition("#")[0] for link in LINK.findall(read(page)) if "://" not in link]

    assert [link for link in links if link and not ((ROOT / page).parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES)
def test_no_page_names_a_machine(page: str) -> None:
    assert [line for line in read(page).splitlines() if MACHINE_PATH.search(line)] == []


def test_readme_names_every_page() -> None:
    """But for decisions, to whose folder it points."""
    pages = [page for page in PAGES if page != "README.md" and not page.startswith("docs/adr/")]

    assert [page for page in pages if f"]({page})" not in read("README.md")] == []


def test_there_is_something_to_check() -> None:
    """A pattern that finds nothing would let everything pass."""
    assert len(typed("shardline")) >= 10
    assert len(typed("make")) >= 3
    assert len(LINK.findall(read("README.md"))) >= 8
