"""Write errors.md, commands.md, files.md, the rules in lint.md and the folders in README.md: `python docs/generate.py`.

They are made of what the code says of itself (the tree in wire/errors.py, the commands' own help texts, each file's
first line) and of nothing that differs from machine to machine: no terminal's width, no environment, no path.
tests/policy/test_docs.py fails when one of them is not what this script would write.
"""

import argparse
import ast
import os
import re
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from shardline.__main__ import app
from shardline.client.request import make_parser
from shardline.manifests.lint import RULES
from shardline.wire import errors

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent

# what stands where, from the top of the import order down
_FOLDERS = {
    "shardline": "the command; one file a subcommand",
    "releases": "a bundle on a cluster: rolled out, proved, rolled back",
    "manifests": "bundle → KServe YAML, checked without a cluster, run here as processes",
    "formats": "the same shards for other servers, and their archives taken over",
    "predictors": "what runs in a pod: transformer and shard servers",
    "client": "the script that asks, from anywhere; the door to a cluster",
    "training": "what is learnt, from what, and how good it is",
    "partition": "model → shards: capture, plan, cut, run, verify; torch",
    "tasks": "tensors → v1 reply",
    "storage": "bundles on disk and in buckets",
    "wire": "frames, v1 JSON, limits, errors",
    "benchmarks": "what is measured, and how",
    "docker": "images of shard, transformer and client",
    "docs": "pages, and decisions in adr/",
    "examples": "the demo, and paths from one's own files to a served model",
    "requirements": "the package's extras, a file each",
    "tests": "mirrors the folders above, and more",
}

_BRANCH = re.compile(r" {4}(?P<stem>[│├└─ ]*)(?P<name>\w+)(?: +(?P<status>\d{3}|any))?(?: {2,}(?P<meaning>\S.*))?")
_STEP = 4  # columns of the tree that one level takes

_TREE_START = "<!-- folders: written by docs/generate.py -->"
_TREE_END = "<!-- end of folders -->"
_RULES_START, _RULES_END = "<!-- rules: written by docs/generate.py -->", "<!-- end of rules -->"
_NAME_COLUMNS = 26
_LEFT_BEHIND = {
    ".git",
    ".venv",
    ".venv-peers",
    ".hypothesis",
    "__pycache__",
    "bundles",
    "manifests-out",
    "build",
    "dist",
    "wheels",
}
_RESULTS = Path("benchmarks/results")  # what `make bench` measured, a few files a run
# files that cannot say what they are
_DESCRIPTIONS = {
    ".ci/run": "What CI runs: make test",
    ".dockerignore": "What no image is made from",
    ".gitignore": "What is made here and not kept",
    "CHANGELOG.md": "What changed, version by version",
    "LICENSE": "The Apache License, Version 2.0",
    "Makefile": "make demo, make test, make e2e, make images and others",
    "NOTICE": "Licences of the weights, the fonts and the sample photographs",
    "README.md": "This page",
    "docker/install.sh": "Install named packages into an image, in the versions of constraints.txt",
    "docs/flow.svg": "The picture in README.md",
    "docs/plates/calibration.png": "Do the detector's scores mean what they say",
    "docs/plates/confusion.png": "Which characters the detector takes for which",
    "docs/plates/precision_recall.png": "Precision against recall of each of its classes",
    "docs/plates/readings.png": "How many plates it reads, by type, width, blur and rotation",
    "manifests/resnet50/bundle.json": "What ResNet-50's manifests are written from",
    "manifests/plates/bundle.json": "What the manifests of the detector of plates are written from",
    "pyproject.toml": "Dependencies with their bounds, and the settings of ruff, mypy and pytest",
    "training/detector/plates.safetensors": "The detector of plates, as it was trained",
    "training/evaluation/page.html.jinja": "The page of a report, before it is filled in",
}

_ERRORS = """\
# Errors

Written by `python docs/generate.py` from the tree in `wire/errors.py`; edit that and run it again.

A message is one line that says what was found, what is allowed and what to do.

- A server answers with the status and `{"error": "NAME: message"}`, where NAME is the stage's or the transformer's.
- A command prints `error: message` on stderr and ends with exit code 1. A server that cannot start does the same before
  it opens its port.

| error | status | Retry-After | means |
|---|---|---|---|
"""

_ROUTER = """
An arrow marks a kind of the error above it; every error is a `ShardlineError`. "any" is the status that the predictor
answered with. An error without a status belongs to commands and to servers that start; if one is raised while a request
is answered, the status is 500.

## What the router says

KServe's router, and the stand-in that `shardline up` starts, have two answers of their own:

- A stage that cannot be reached or breaks off: 500 `{"error": "Failed to process request", "cause": "…"}`, and `cause`
  holds the stage's address.
- All stages together take longer than `routerTimeouts.serverWrite` in the manifest: the connection is closed without an
  answer.

A stage's own error comes through the router as it is, but for its headers: Retry-After reaches only clients that ask
the transformer directly.
"""

_FILES = """\
# Files

Written by `python docs/generate.py` from the first sentence of each file; edit those and run it again. Empty files are
left out.

"""

_COMMANDS = """\
# Commands

Written by `python docs/generate.py` from the commands' own help texts; edit those and run it again.

`shardline COMMAND --help` shows the same in the terminal. Results are printed on stdout, everything else on stderr. A
mistake is one line on stderr. Exit codes: 0 it went well, 1 it did not, 2 wrong usage; `request` has its own.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Branch:
    """One line of the tree in wire/errors.py: `depth` 0 is the root, `status` is "" where there is none."""

    name: str
    depth: int
    status: str
    meaning: str


def error_tree() -> list[Branch]:
    """The tree as it is drawn in the docstring of wire/errors.py."""
    matches = (_BRANCH.fullmatch(line) for line in (errors.__doc__ or "").splitlines())
    return [
        Branch(
            name=match["name"],
            depth=len(match["stem"]) // _STEP,
            status=match["status"] or "",
            meaning=match["meaning"] or "base of all",
        )
        for match in matches
        if match
    ]


def errors_page() -> str:
    return _ERRORS + "".join(f"{_error_row(branch)}\n" for branch in error_tree()) + _ROUTER


def _error_row(branch: Branch) -> str:
    retry_after_s = getattr(errors, branch.name).retry_after_s
    kind = "↳ " * (branch.depth - 1)
    return _row(
        f"{kind}`{branch.name}`", branch.status, "" if retry_after_s is None else f"{retry_after_s} s", branch.meaning
    )


def commands_page() -> str:
    return _COMMANDS + "".join(_command(name, command) for name, command in commands().items())


def commands() -> Mapping[str, Any]:
    """The name of each command -> what typer made of it."""
    return dict(_leaves(typer.main.get_command(app), ""))


def _leaves(group: Any, above: str) -> Iterator[tuple[str, Any]]:
    """Commands by their names, those of a group with its name before theirs."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _leaves(command, f"{above}{name} ")
        elif not command.hidden:
            yield f"{above}{name}", command


def _command(name: str, command: Any) -> str:
    rows = list(request_options() if name == "request" else _options(command))
    usage = " ".join([f"shardline {name}", *(row.name for row in rows if row.positional), "[OPTIONS]"])
    remarks = [_last_paragraph(make_parser().description)] if name == "request" else []
    lines = [
        f"\n## {name}\n",
        command.help,
        f"\n```\n{usage}\n```\n",
        "| | default | |",
        "|---|---|---|",
        *(_row(f"`{row.name}`", row.default, row.help) for row in rows),
        *(f"\n{remark}" for remark in remarks),
        f"\n{_example(command.epilog)}\n",
    ]
    return "\n".join(lines)


def _last_paragraph(text: str | None) -> str:
    return (text or "").strip().rpartition("\n\n")[2]


def _example(epilog: str) -> str:
    word, _, example = epilog.partition(": ")
    return f"{word}:\n\n```sh\n{example}\n```"


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One option or argument. `default` is what is taken when it is left out, or "required"."""

    name: str
    default: str
    help: str
    positional: bool = False


def _options(command: Any) -> Iterator[Option]:
    for each in sorted(command.params, key=lambda each: each.param_type_name):  # arguments before options
        positional = each.param_type_name == "argument"
        default = "" if each.default is None or each.default is False else f"`{each.default}`"
        yield Option(
            name=each.metavar or each.name.upper() if positional else ", ".join(each.opts),
            default="required" if each.required else default,
            help=each.help,
            positional=positional,
        )


def request_options() -> Iterator[Option]:
    """The options of client/request.py, whose parser is argparse's: it must run without typer."""
    for action in make_parser()._actions:
        if isinstance(action, argparse._HelpAction):
            continue
        text = (action.help or "") % {**vars(action), "prog": "shardline request"}
        given = re.fullmatch(r"(?P<help>.*) \(default: (?P<default>.*)\)", text)
        positional = not action.option_strings
        default = f"`{given['default']}`" if given else "required" if positional else ""
        yield Option(
            name=f"{action.metavar}…" if positional else ", ".join(action.option_strings),
            default=default,
            help=given["help"] if given else text,
            positional=positional,
        )


def _row(*cells: str) -> str:
    return f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |".replace("  ", " ")


def files() -> list[Path]:
    """Every file of the repository by git's count, untracked ones that git does not ignore included.

    No empty ones, and no benchmark's results.
    """
    listed = subprocess.run(
        ["git", "ls-files", "-z", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    names = listed.stdout.split("\0") if listed.returncode == 0 else _walk()
    paths = sorted(path for path in {Path(name) for name in names if name} if _RESULTS not in path.parents)
    return [path for path in paths if (ROOT / path).is_file() and (ROOT / path).stat().st_size]


def _walk() -> Iterator[str]:
    """For a copy without .git: all but what the tools leave behind."""
    for where, folders, names in os.walk(ROOT):
        folders[:] = [name for name in folders if name not in _LEFT_BEHIND and not name.endswith("_cache")]
        yield from (Path(where, name).relative_to(ROOT).as_posix() for name in names)


def file_tree() -> str:
    """Folder by folder, one line a file: its name, and what it says of itself."""
    lines = []
    paths = sorted(files(), key=lambda path: (path.parent.parts, path.name.lower()))
    for path in paths:
        indent = "" if path.parent == Path() else "  "
        folder = f"{path.parent.as_posix()}/"
        if indent and folder not in lines:
            lines.append(folder)
        lines.append(f"{indent + path.name:<{_NAME_COLUMNS}} {_describe(path)}")
    return "\n".join(lines)


def _describe(path: Path) -> str:
    """The first sentence of a file: of a module's docstring, of a page's heading, of a comment on top."""
    text = (ROOT / path).read_text(encoding="utf-8", errors="replace")
    if path.as_posix() in _DESCRIPTIONS:
        return _DESCRIPTIONS[path.as_posix()]
    if path.suffix in (".md", ".yaml"):
        return text.partition("\n")[0].lstrip("# ")
    if path.suffix in (".Dockerfile", ".sh", ".txt"):
        comment = next(line for line in text.splitlines() if not line.startswith("#!"))
        return comment.lstrip("# ").partition(": ")[0].partition("; ")[0]
    docstring = ast.get_docstring(ast.parse(text)) if path.suffix == ".py" else None
    if docstring is None:
        raise SystemExit(f"{path} says nothing of itself: give it a docstring, or a line in docs/generate.py")
    paragraph = " ".join(docstring.partition("\n\n")[0].split())
    return re.split(r"(?<=\w)\. ", paragraph)[0].removesuffix(".")


def readme_page() -> str:
    """The README with its list of folders made anew."""
    return _between("README.md", _TREE_START, _TREE_END, f"```text\n{folder_tree()}\n```")


def folder_tree() -> str:
    """One line a folder, in the order in which they may import each other."""
    there = {path.parts[0] for path in files() if len(path.parts) > 1 and not path.parts[0].startswith(".")}
    if there != _FOLDERS.keys():
        raise SystemExit(f"_FOLDERS in docs/generate.py is off by {sorted(there ^ _FOLDERS.keys())}")
    return "\n".join(f"{name + '/':<14}{meaning}" for name, meaning in _FOLDERS.items())


def files_page() -> str:
    return f"{_FILES}```text\n{file_tree()}\n```\n"


def lint_page() -> str:
    """The page on lint with its table of rules made anew."""
    rows = [
        _row(f"`{rule.id}`", rule.severity, ", ".join(rule.kinds) or "any", rule.summary, rule.source) for rule in RULES
    ]
    table = "\n".join(["| rule | | kind | what holds | whose |", "|---|---|---|---|---|", *rows])
    return _between("docs/lint.md", _RULES_START, _RULES_END, table)


def _between(page: str, start: str, end: str, text: str) -> str:
    """A page with what stands between two comments made anew."""
    before, found, rest = (ROOT / page).read_text(encoding="utf-8").partition(start)
    _, ended, after = rest.partition(end)
    if not found or not ended:
        raise SystemExit(f"{page} must have {start} and {end}")
    return f"{before}{start}\n\n{text}\n\n{end}{after}"


# each from the root of the repository
PAGES: Mapping[str, Callable[[], str]] = {
    "docs/errors.md": errors_page,
    "docs/commands.md": commands_page,
    "docs/files.md": files_page,
    "docs/lint.md": lint_page,
    "README.md": readme_page,
}


def main() -> None:
    for name, page in PAGES.items():
        (ROOT / name).write_text(page(), encoding="utf-8")
        print(name)


if __name__ == "__main__":
    main()
