"""The command line as a whole: help, version, speed, and one line for every mistake."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from services.cli import run_command as shardline
from services.processes import ROOT
from typer.main import get_command

import shardline as package
from shardline.__main__ import app

SMALL = ("services.small_models:residual", "--size", "32", "--hop", "0.4,3")

MISTAKES: dict[str, tuple[list[str], int, str]] = {
    "no such model": (
        ["plan", "torchvision:resnet51", "--weights", "random:0"],
        1,
        "no model 'resnet51'",
    ),
    "no kind of model": (
        ["plan", "resnet50"],
        1,
        "did you mean torchvision:resnet50 or timm:resnet50?",
    ),
    "no such package": (["plan", "no_such_package:make"], 1, "No module named 'no_such_package'"),
    "no such factory": (["plan", "services.small_models:nothing"], 1, "nothing"),
    "not a module": (["plan", "services.small_models:not_a_module"], 1, "gave a int"),
    "no seed": (["plan", "torchvision:resnet18", "--weights", "random"], 1, "random:SEED"),
    "no such cut": (["plan", *SMALL, "--cuts", "thre"], 1, "near it are"),
    "too many stages": (["plan", *SMALL, "--stages", "500"], 1, "need 499 cuts"),
    "no stage": (["plan", *SMALL, "--stages", "0"], 2, "--stages"),
    "a limit too small": (["plan", *SMALL, "--limit", "1Ki"], 1, "take a smaller --size"),
    "no limit": (["plan", *SMALL, "--limit", "much"], 1, "is not a size: write it as Kubernetes does, e.g. 6Mi"),
    "a broken model": (["plan", "services.small_models:broken", "--size", "32"], 1, "this model never runs"),
    "two channels": (["build", *SMALL, "--mean", "0.5,0.5", "--out", "x"], 1, "write a number for each channel"),
    "a std of 0": (["build", *SMALL, "--std", "0,1,1", "--out", "x"], 1, "a standard deviation above 0"),
    "no labels": (["build", *SMALL, "--labels", "Makefile2", "--out", "x"], 1, "one class name per line"),
    "too many labels": (["build", *SMALL, "--labels", "Makefile", "--out", "x"], 1, "labels for 10 classes"),
    "no bundle": (["verify", "tests"], 1, "is it a bundle?"),
    "no manifests": (["up", "no-such-folder"], 1, "no-such-folder"),
    "nothing to render": (["render", "tests", "--out", "x"], 1, "is it a bundle?"),
    "another cluster for chains on this machine": (
        ["status", "--local", "--namespace", "x"],
        1,
        "leave out --namespace",
    ),
    "a key for a folder": (["pull", "file:///tmp", "x", "--anonymous"], 1, "--anonymous are for gs://"),
    "a key and no key": (
        ["pull", "gs://b/p", "x", "--anonymous", "--key-file", "y"],
        1,
        "--key-file and --anonymous exclude each other",
    ),
    "no batch to wait for": (
        ["export", "triton", "o", "--out", "x", "--batch", "1", "--delay-us", "5"],
        1,
        "--delay-us 5 is for batches",
    ),
    "a seed of drawn pictures": (
        ["evaluate", "plates", "--data", "folder", "--seed", "0", "--fonts", "all"],
        1,
        "leave out --seed, --fonts",
    ),
    "threads of a served chain": (
        ["evaluate", "classifier", "--url", "http://127.0.0.1:9", "--data", "digits", "--threads", "2"],
        1,
        "--threads and --program are for models in this process",
    ),
    "a seed without a plate": (["demo", "torchvision:resnet18", "--seed", "2"], 1, "--seed 2 is of the drawn license"),
    "no picture": (["request", "no-such-picture.jpg"], 2, "no-such-picture.jpg"),
    "no server": (["request", "README.md", "--url", "http://127.0.0.1:9"], 3, "does not answer"),
    "an unknown command": (["serve"], 2, "serve"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_is_one_clear_line(case: str) -> None:
    arguments, code, message = MISTAKES[case]

    result = shardline(*arguments, code=code)

    assert message in " ".join(result.stderr.split())


def commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    yield path
    for name, below in getattr(command, "commands", {}).items():
        yield from commands(below, (*path, name))


@pytest.mark.parametrize("path", list(commands(get_command(app))), ids=" ".join)
def test_helps_fit_80_columns(path: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")

    lines = shardline(*path, "--help").stdout.splitlines()

    assert [line for line in lines if len(line) > 80 or re.search(r"<(bool|str|\w+\|)|list\[|--[\w-]+…", line)] == []


def test_version() -> None:
    assert shardline("--version").stdout == f"shardline {package.__version__}\n"


@pytest.mark.parametrize(
    ("words", "completions"),
    [("shardline pu", {"pull", "push"}), ("shardline gs gc --a", {"--anonymous", "--all-but-newest"})],
)
def test_shell_completion(words: str, completions: set[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from shardline.__main__ import app; app(prog_name='shardline')"],
        cwd=ROOT,
        env=os.environ
        | {"_SHARDLINE_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))},
        capture_output=True,
        text=True,
        check=True,
    )

    assert set(done.stdout.split()) == completions


def test_help_groups_all_commands() -> None:
    text = shardline("--help").stdout
    panels = [line.split("─ ")[1].split(" ─")[0] for line in text.splitlines() if line.startswith("╭─ ")]

    assert panels == ["Options", "Make a bundle", "Serve it", "On a cluster", "In a bucket", "Train and measure"]
    assert "--install-completion" in text


def test_help_loads_nothing_heavy() -> None:
    """Help comes at once: it waits for no torch, no client of Kubernetes or Google."""
    program = (
        "import sys; from shardline.__main__ import main; sys.argv = ['shardline', '--help']\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print(*{name.split('.')[0] for name in sys.modules}, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)

    assert set(done.stderr.split()) & {"torch", "torchvision", "kubernetes", "google", "kserve", "matplotlib"} == set()


def test_a_command_loads_only_its_own_code() -> None:
    program = (
        "import sys; from shardline.__main__ import main; sys.argv = ['shardline', 'push', '--help']\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print(*(name for name in sys.modules if name.startswith('shardline.commands.')), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)

    assert done.stderr.split() == ["shardline.commands.bucket"]
