"""Write errors.md, commands.md, files.md, the rules in lint.md and the folders in README.md: `python docs/generate.py`.

The sources are in the code: the tree in wire/errors.py, the help texts of the commands, the rules' docstrings and each
file's first line. Nothing depends on the machine: no terminal width, no environment variable, no path.
tests/policy/test_docs.py fails when a page differs from what this script writes.
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

# in the order of imports, from the top down
_FOLDERS = {
    "shardline": "the command and the public Python API; links to the folders below",
    "releases": "bundles on a cluster: rollouts, status, rollbacks",
    "training": "training and evaluation of detector, classifier and embedding",
    "manifests": "bundle → KServe YAML, lint rules, local processes and router",
    "formats": "export to TorchScript, TorchServe and Triton; import of .mar archives",
    "predictors": "the servers that run in pods: transformer and shard",
    "client": "requests to a chain from anywhere, and access to clusters",
    "partition": "model → shards: capture, plan, cut, compile, verify; needs torch",
    "tasks": "the last shard's tensors → predictions",
    "storage": "bundles on disk and in buckets",
    "wire": "frames, v1 JSON, limits, errors",
    "benchmarks": "measurements, and systems to compare with",
    "docker": "images of shard, transformer and client",
    "docs": "pages, and decisions in adr/",
    "examples": "the demo, and whole paths from files to a served model",
    "requirements": "the extras of the package, a file each",
    "tests": "tests; they mirror the folders above",
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
_RESULTS = Path("benchmarks/results")  # written by `make bench`, a few files for each run
_CORPUS = Path("tests/fuzz/corpus")  # inputs of the fuzzers
# files that have no comment or docstring of their own
_DESCRIPTIONS = {
    ".ci/run": "The command that CI runs: make test",
    ".dockerignore": "The only folders that images are built from",
    ".gitignore": "Files that are generated and not committed",
    "CHANGELOG.md": "Changes that users notice, by version",
    "CONTRIBUTING.md": "Guide for contributors: checks, style, and how to add a task, a rule, a command or a test",
    "LICENSE": "The Apache License, Version 2.0",
    "Makefile": "make demo, make test, make e2e, make images and others",
    "NOTICE": "Licences of the weights, the fonts and the sample photographs",
    "README.md": "Introduction, installation and a tour",
    "SECURITY.md": "Reporting of vulnerabilities, scope, and the bounds of the servers",
    "docker/install.sh": "Install named packages into an image, in the versions of constraints.txt",
    "docs/flow.svg": "Diagram in README.md: from a model to a chain, and a request's way through it",
    "docs/plates/calibration.png": "Calibration of the license plate detector",
    "docs/plates/candidates.png": "Calibration of the probabilities of candidates for a plate's text",
    "docs/plates/characters.png": "Calibration of the scores of a plate's characters",
    "docs/plates/confusion.png": "Confusion matrix of the characters",
    "docs/plates/precision_recall.png": "Precision-recall curve of each class",
    "docs/plates/readings.png": "Share of plates read right, by type, width, blur and rotation",
    "docs/terminal.svg": "Terminal in README.md, written by docs/terminal.py",
    "manifests/resnet50/bundle.json": "Bundle that ResNet-50's manifests are rendered from",
    "manifests/plates/bundle.json": "Bundle that the license plate detector's manifests are rendered from",
    "pyproject.toml": "Metadata and dependencies, and the settings of ruff, mypy and pytest",
    "training/detector/plates.safetensors": "Trained weights of the license plate detector",
    "training/evaluation/page.html.jinja": "Template of a report's page",
}

_ERRORS = """\
# Errors

Written by `python docs/generate.py` from the tree in `wire/errors.py`; edit that and run it again.

A message is one line: what was found, what is allowed, and what to do.

- A server answers with the status and `{"error": "NAME: message"}`; NAME is the stage or the transformer.
- A command prints `error: message` on stderr and ends with exit code 1. A server that cannot start does the same before
  it opens its port.

| error | status | Retry-After | means |
|---|---|---|---|
"""

_ROUTER = """
An arrow marks a subclass of the error above it; every error is a `ShardlineError`. "any" is the status that the
predictor answered with. An error without a status belongs to commands and to servers that start; if one is raised while
a request is processed, the status is 500.

## Errors of the router

KServe's router, and the local router of `shardline up`, have two errors of their own:

- A stage cannot be reached, or closes the connection: 500 `{"error": "Failed to process request", "cause": "…"}`, and
  `cause` holds the stage's address.
- All stages together take longer than `routerTimeouts.serverWrite` in the manifest: the connection is closed without a
  reply.

The router returns a stage's own error unchanged but drops its headers: Retry-After reaches only clients that ask the
transformer directly.
"""

_FILES = """\
# Files

Written by `python docs/generate.py` from the first sentence of each file; edit those and run it again. Empty files and
the results of benchmarks are left out.

"""

_COMMANDS = """\
# Commands

Written by `python docs/generate.py` from the commands' own help texts; edit those and run it again.

`shardline COMMAND --help` shows the same in the terminal. Results are printed on stdout, progress and errors on stderr.
Exit codes: 0 success, 1 failure, 2 wrong usage; `request` has its own.
`shardline --version` prints the version, and `shardline --install-completion` sets up completion in your shell.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Branch:
    """One line of the tree in wire/errors.py: `depth` 0 is the root, `status` is "" where there is none."""

    name: str
    depth: int
    status: str
    meaning: str


def error_tree() -> list[Branch]:
    """The tree of errors, parsed from the docstring of wire/errors.py."""
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
    """Each command's name and its click command, without hidden ones."""
    return dict(_leaves(typer.main.get_command(app), ""))


def _leaves(group: Any, above: str) -> Iterator[tuple[str, Any]]:
    """The commands below a group; names begin with the group's name."""
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
        "| option | default | meaning |",
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
    """An option or argument; `default` is its default value or "required"."""

    name: str
    default: str
    help: str
    positional: bool = False


def _options(command: Any) -> Iterator[Option]:
    for parameter in sorted(command.params, key=lambda parameter: parameter.param_type_name):  # arguments first
        positional = parameter.param_type_name == "argument"
        default = "" if parameter.default is None or parameter.default is False else f"`{parameter.default}`"
        yield Option(
            name=parameter.metavar or parameter.name.upper() if positional else ", ".join(parameter.opts),
            default="required" if parameter.required else default,
            help=parameter.help,
            positional=positional,
        )


def request_options() -> Iterator[Option]:
    """The options of client/request.py, which has an argparse parser because it runs without typer."""
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
    """All files that git tracks or would add, without empty ones, links and the results of benchmarks."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    names = listed.stdout.split("\0") if listed.returncode == 0 else _walk()
    paths = sorted(path for path in {Path(name) for name in names if name} if not {_RESULTS, _CORPUS} & {*path.parents})
    return [
        path
        for path in paths
        if (ROOT / path).is_file() and not (ROOT / path).is_symlink() and (ROOT / path).stat().st_size
    ]


def _walk() -> Iterator[str]:
    """The files of a copy without .git, except those that tools generate."""
    for where, folders, names in os.walk(ROOT):
        folders[:] = [name for name in folders if name not in _LEFT_BEHIND and not name.endswith("_cache")]
        yield from (Path(where, name).relative_to(ROOT).as_posix() for name in names)


def file_tree() -> str:
    """The tree of files, one line each: name and description."""
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
    """The description of a file: the first sentence of its docstring, its heading or its first comment."""
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
        raise SystemExit(f"{path} has no description: give it a docstring, or a line in docs/generate.py")
    paragraph = " ".join(docstring.partition("\n\n")[0].split())
    return re.split(r"(?<=\w)\. ", paragraph)[0].removesuffix(".")


def readme_page() -> str:
    """README.md with the folder tree replaced."""
    return _between("README.md", _TREE_START, _TREE_END, f"```text\n{folder_tree()}\n```")


def folder_tree() -> str:
    """The tree of folders, one line each, in the order of imports."""
    there = {path.parts[0] for path in files() if len(path.parts) > 1 and not path.parts[0].startswith(".")}
    if there != _FOLDERS.keys():
        raise SystemExit(f"_FOLDERS in docs/generate.py differs from the disk by {sorted(there ^ _FOLDERS.keys())}")
    return "\n".join(f"{name + '/':<14}{meaning}" for name, meaning in _FOLDERS.items())


def files_page() -> str:
    return f"{_FILES}```text\n{file_tree()}\n```\n"


def lint_page() -> str:
    """docs/lint.md with the table of rules replaced."""
    rows = [
        _row(f"`{rule.id}`", rule.severity, ", ".join(rule.kinds) or "any", rule.summary, rule.source) for rule in RULES
    ]
    table = "\n".join(["| rule | severity | kinds | requirement | source |", "|---|---|---|---|---|", *rows])
    return _between("docs/lint.md", _RULES_START, _RULES_END, table)


def _between(page: str, start: str, end: str, text: str) -> str:
    """A page with the text between two comments replaced."""
    before, found, rest = (ROOT / page).read_text(encoding="utf-8").partition(start)
    _, ended, after = rest.partition(end)
    if not found or not ended:
        raise SystemExit(f"{page} must have {start} and {end}")
    return f"{before}{start}\n\n{text}\n\n{end}{after}"


# path from the root of the repository -> its text
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
