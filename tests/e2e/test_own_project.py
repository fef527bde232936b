"""A user's own project whose packages are named like Shardline's folders: it builds, verifies and serves."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from e2e.conftest import shardline, up_manifests

pytestmark = pytest.mark.slow

NAMES = (
    "training",
    "tasks",
    "storage",
    "client",
    "models",
    "utils",
    "wire",
    "partition",
    "predictors",
    "manifests",
    "formats",
    "releases",
)
LAYERS = {
    "training": "nn.Conv2d(3, 8, 3, stride=2, padding=1)",
    "tasks": "nn.BatchNorm2d(8)",
    "storage": "nn.ReLU()",
    "client": "nn.Conv2d(8, 16, 3, stride=2, padding=1)",
    "models": "nn.BatchNorm2d(16)",
    "utils": "nn.ReLU()",
    "wire": "nn.AdaptiveAvgPool2d(1)",
    "partition": "nn.Flatten()",
    "predictors": "nn.Linear(16, 10)",
}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """`mine:net` takes each of its layers from a package of the user's; every name has a module `nets`."""
    folder = tmp_path / "project"
    for name in NAMES:
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").touch()
        layer = LAYERS.get(name, "nn.Identity()")
        (folder / name / "nets.py").write_text(f"from torch import nn\n\n\ndef layer():\n    return {layer}\n")
    imports = "".join(f"from {name}.nets import layer as {name}_layer\n" for name in NAMES)
    layers = ", ".join(f"{name}_layer()" for name in NAMES)
    (folder / "mine.py").write_text(
        f"{imports}from torch import nn\n\n\ndef net():\n    return nn.Sequential({layers})\n"
    )
    return folder


def test_packages_named_like_our_folders(project: Path, photographs: list[bytes]) -> None:
    (project / "photo.jpg").write_bytes(photographs[0])
    build = ("build", "mine:net", "--size", "32", "--stages", "2", "--hop", "0.4,3", "--out", "bundle")

    shardline(*build, folder=project)
    verified = shardline("verify", "bundle", folder=project)
    shardline("render", "bundle", "--out", "manifests-out", folder=project)

    assert "max abs difference 0" in verified.stdout
    with up_manifests(project / "manifests-out", project) as chain:
        reply = shardline("request", "photo.jpg", "--json", "--url", chain.url, folder=project)
    assert len(json.loads(reply.stdout)["predictions"][0]["top"]) == 5


@pytest.mark.parametrize("command", [("--version",), ("--help",)])
def test_a_module_named_like_our_folders(tmp_path: Path, command: tuple[str, ...]) -> None:
    """`python -m` puts the folder that it is called in first on sys.path."""
    for name in NAMES:
        (tmp_path / f"{name}.py").write_text("raise SystemExit('the wrong module was imported')\n")

    done = subprocess.run(
        [sys.executable, "-m", "shardline", *command], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    assert "hardline" in done.stdout
