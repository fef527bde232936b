"""The Python API: its names, its weight at import, its page, and what its functions refuse."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from services.processes import ROOT
from services.scripted import ScriptedServer
from torch import nn

import shardline
from shardline.training.samples import sample_files

PAGE = ROOT / "docs" / "python.md"
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NAMES = [
    "Bundle",
    "CapturedModel",
    "Client",
    "ModelPlan",
    "Reply",
    "RequestOptions",
    "ShardlineError",
    "__version__",
    "build",
    "capture",
    "lint",
    "open_bundle",
    "plan",
    "render",
    "verify",
]


def test_exported_names() -> None:
    assert shardline.__all__ == NAMES == dir(shardline)
    assert all(getattr(shardline, name) is not None for name in NAMES)


def test_unknown_name() -> None:
    with pytest.raises(AttributeError, match="module 'shardline' has no attribute 'serve'"):
        shardline.serve  # noqa: B018


@pytest.mark.parametrize(
    ("program", "unloaded"),
    [
        ("import shardline", {"torch", "numpy", "rich", "typer", "requests", "PIL", "yaml", "kubernetes", "google"}),
        ("import shardline; shardline.Client, shardline.open_bundle, shardline.render", {"torch", "kubernetes"}),
    ],
)
def test_import_is_light(program: str, unloaded: set[str]) -> None:
    lines = f"import sys; {program}; print(*{{name.split('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", lines], cwd=ROOT, capture_output=True, text=True, check=True)

    assert set(done.stdout.split()) & unloaded == set()


@pytest.fixture
def served() -> Iterator[str]:
    """The URL of a server that finds a cat in every picture."""
    reply = {"predictions": [{"label": "cat", "index": 0, "score": 0.9}]}
    server = ScriptedServer({"POST /": [{"json": reply}, {"json": reply}]})
    try:
        yield server.url
    finally:
        server.stop()


@pytest.mark.slow
def test_blocks_of_the_page_run(
    served: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(torch, "set_num_threads", lambda _: None)
    (tmp_path / "photo.jpg").write_bytes(sample_files()[0].read_bytes())
    blocks = BLOCK.findall(PAGE.read_text(encoding="utf-8").replace("http://127.0.0.1:8080", served))
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), names)

    assert len(blocks) >= 6
    assert "'label': 'cat'" in capsys.readouterr().out
    own = names["own"]
    assert isinstance(own, shardline.Bundle)
    assert own.task.labels == ("cat", "dog")


MODULE = nn.Sequential(nn.Flatten(), nn.Linear(3, 2))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: shardline.capture(MODULE), "a module does not say how large its input is: give size="),
        (lambda: shardline.capture(MODULE, size=1, weights="random:0"), "a module comes with its own weights"),
        (lambda: shardline.capture("plates", embed=True, task="plates"), "embed gives a model for the task retrieve"),
        (lambda: shardline.verify("nowhere", program="fast"), "allowed are auto, portable, compiled"),
        (lambda: shardline.open_bundle("nowhere"), "nowhere/bundle.json cannot be read"),
    ],
)
def test_refuses(call: object, message: str) -> None:
    assert callable(call)
    with pytest.raises(shardline.ShardlineError, match=re.escape(message)):
        call()
