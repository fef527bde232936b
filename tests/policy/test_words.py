"""Plain words: the field's terms in docstrings, comments, helps and pages, and first lines that say what a thing is.

CONTRIBUTING.md has the guide. A folder that is not clean yet stands in NOT_CLEAN, and nowhere else.
"""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = [
    *("shardline", "releases", "training", "manifests", "formats", "predictors", "client", "partition", "tasks"),
    *("storage", "wire", "benchmarks", "examples", "tests", "docs"),
]
NOT_CLEAN: set[str] = set()

# a word of before -> what the field says
REPLACED = {
    r"by lot": "at random",
    r"told|tells": "reported, printed, passed",
    r"of before": "of the previous revision",
    r"anew": "again",
    r"besides": "also, as well as",
    r"likewise": "the noun itself",
    r"the surest|surest first": "highest score first",
    r"unpart|can_part": "split, concatenate, can_split",
    r"drawn[ _]ahead": "prefetch",
    r"begin_lots": "seed_everything",
    r"cut[-_]outs?": "crops",
    r"podport": "port_forward",
    r"a good deal|some tenths": "the number",
    r"goes on from|go on from": "resume, continue",
    r"a line each|one a line|a line a \w+": "one per line",
}
PATTERN = re.compile("|".join(rf"\b(?:{words})\b" for words in REPLACED), re.IGNORECASE)

WRONG_FIRST_WORDS = ("What", "How", "Of", "As", "Whether", "->")
WRONG_HELP_WORDS = ("of", "that", "to", "by", "likewise", "besides")

Described = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
Found = Iterator[tuple[int, str]]  # line, text


def files_of(folder: str) -> list[Path]:
    """The folder's own Python files: a link in shardline/ leads to another folder's."""
    return [
        path
        for path in sorted((ROOT / folder).rglob("*.py"))
        if not any(parent.is_symlink() for parent in path.parents) and path != Path(__file__)
    ]


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def docstrings(path: Path) -> Iterator[tuple[Described, int, str]]:
    for node in ast.walk(tree_of(path)):
        if isinstance(node, Described):
            text = ast.get_docstring(node)
            if text is not None:
                yield node, getattr(node, "lineno", 1), text


def comments(path: Path) -> Found:
    for token in tokenize.generate_tokens(io.StringIO(path.read_text(encoding="utf-8")).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


def helps(path: Path) -> Found:
    """The text of each `help=` of an option, typer's or argparse's."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Call):
            for keyword in node.keywords:
                if keyword.arg == "help":
                    parts = keyword.value.values if isinstance(keyword.value, ast.JoinedStr) else [keyword.value]
                    text = "".join(str(part.value) if isinstance(part, ast.Constant) else "X" for part in parts)
                    yield node.lineno, text


def loop_variables(path: Path) -> Found:
    """Names that a loop gives to its items, if they say nothing: `each`, `one`."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.For | ast.AsyncFor | ast.comprehension):
            for name in ast.walk(node.target):
                if isinstance(name, ast.Name) and name.id in ("each", "one"):
                    yield name.lineno, name.id


def first_word(text: str) -> str:
    return text.split(maxsplit=1)[0].strip(",.:;") if text.split() else ""


def problems(folder: str) -> Iterator[str]:
    for path in files_of(folder):
        where = path.relative_to(ROOT)
        texts = [*((line, text) for _, line, text in docstrings(path)), *comments(path), *helps(path)]
        for line, text in texts:
            for match in PATTERN.finditer(text):
                yield f"{where}:{line}: {match[0]!r} is replaced: {replacement(match[0])}"
        for node, line, text in docstrings(path):
            described = isinstance(node, ast.Module) or (folder != "tests" and not node.name.startswith("_"))
            if described and first_word(text) in WRONG_FIRST_WORDS:
                yield f"{where}:{line}: begins with {first_word(text)!r}: {text.splitlines()[0]}"
        if folder != "tests":
            for line, name in loop_variables(path):
                yield f"{where}:{line}: the loop variable {name!r} does not name the thing"
            for line, text in helps(path):
                if first_word(text).lower() in WRONG_HELP_WORDS:
                    yield f"{where}:{line}: the help begins with {first_word(text)!r}: {text}"


def replacement(word: str) -> str:
    return next(better for words, better in REPLACED.items() if re.fullmatch(words, word, re.IGNORECASE))


def page_problems(page: Path) -> Iterator[str]:
    """Prose only: a block of code may quote what a program printed."""
    text = re.sub(
        r"^```.*?^```", lambda block: "\n" * block[0].count("\n"), page.read_text(encoding="utf-8"), flags=re.M | re.S
    )
    for number, line in enumerate(text.splitlines(), start=1):
        for match in PATTERN.finditer(line):
            yield f"{page.relative_to(ROOT)}:{number}: {match[0]!r} is replaced: {replacement(match[0])}"


@pytest.mark.parametrize("folder", [folder for folder in FOLDERS if folder not in NOT_CLEAN])
def test_plain_words(folder: str) -> None:
    found = [*problems(folder)]
    if folder == "docs":
        found += [problem for page in [ROOT / "README.md", *ROOT.glob("docs/*.md")] for problem in page_problems(page)]

    assert found == []


def test_the_rules_find_what_they_are_for() -> None:
    """A pattern that finds nothing would let everything pass."""
    assert PATTERN.findall("a text by lot, drawn anew, besides") == ["by lot", "anew", "besides"]
    assert first_word("What a server says.") in WRONG_FIRST_WORDS
    assert first_word("of the stages") in WRONG_HELP_WORDS
    assert [text for _, text in helps(ROOT / "shardline" / "options" / "bucket.py")]
