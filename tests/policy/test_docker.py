"""Contents of the images, read from their Dockerfiles without a builder."""

import ast
import importlib.util
import json
import os
import re
import subprocess
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from shardline.manifests.resources import USER

ROOT = Path(__file__).parents[2]
IMAGES = {
    "shard": "shardline.predictors.shard",
    "transformer": "shardline.predictors.transformer",
    "client": "shardline.client.request",
}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
REQUIREMENTS: dict[str, Requirement] = {
    canonicalize_name(requirement.name): requirement for requirement in map(Requirement, PROJECT["dependencies"])
}
FOLDERS = {path.parent.name for path in ROOT.glob("*/__init__.py")}
# shards may name torchvision's operations, which none of the project's modules does; faiss is imported where it is used
NOT_IMPORTED = {"shard": {"torchvision", "faiss-cpu", "pillow", "pyyaml"}, "transformer": set(), "client": set()}


def load_pins() -> Any:
    """docker/ is no package: its script is loaded by path."""
    spec = importlib.util.spec_from_file_location("docker_pins", ROOT / "docker" / "pins.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


PINS = load_pins()


def instructions(image: str) -> list[tuple[str, str]]:
    """A Dockerfile as (instruction, argument), lines that go on put together and comments left out."""
    text = (ROOT / "docker" / f"{image}.Dockerfile").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    whole = "\n".join(lines).replace("\\\n", " ").splitlines()
    return [(line.partition(" ")[0], " ".join(line.split()[1:])) for line in whole]


def arguments(image: str, instruction: str) -> list[str]:
    return [argument for name, argument in instructions(image) if name == instruction]


def copied(image: str) -> set[str]:
    """The project's own folders that are in an image."""
    return {
        argument.partition("/")[0] for argument in arguments(image, "COPY") if not argument.startswith("--")
    } & FOLDERS


def imported(image: str) -> set[str]:
    """Every module that an image's module imports, directly or through other modules of the project.

    Imports inside functions count for the client, which asks a cluster on request. They do not count for a server,
    where they keep out code that serves no request (storage/gcs.py).
    """
    waiting, seen = [IMAGES[image]], set[str]()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        path = ROOT.joinpath(*name.split(".")).with_suffix(".py")
        if name.partition(".")[0] == "shardline" and path.exists():
            waiting += imports(ast.parse(path.read_text(encoding="utf-8")), in_functions=image == "client")
    return seen


def imports(tree: ast.AST, *, in_functions: bool) -> Iterator[str]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
        elif in_functions or not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from imports(node, in_functions=in_functions)


def pins() -> dict[str, str]:
    lines = PINS.CONSTRAINTS.read_text(encoding="utf-8").splitlines()
    return dict(line.split("==") for line in lines if not line.startswith("#"))


def test_these_are_all() -> None:
    assert {path.stem for path in (ROOT / "docker").glob("*.Dockerfile")} == IMAGES.keys() == set(PINS.IMAGES)


@pytest.mark.parametrize("image", IMAGES)
def test_user_is_a_number_and_the_manifests_own(image: str) -> None:
    """runAsNonRoot: the kubelet cannot see that a name is not root's."""
    assert arguments(image, "USER") == [f"{USER}:{USER}"]


@pytest.mark.parametrize("image", IMAGES)
def test_base_is_pinned_and_may_be_given(image: str) -> None:
    """No stage has another base, and no tag moves to another Python version."""
    assert arguments(image, "ARG")[0] == "BASE=docker.io/library/python:3.11-slim-bookworm"
    assert {argument.partition(" AS ")[0] for argument in arguments(image, "FROM")} == {"scratch", "${BASE}"}


@pytest.mark.parametrize("image", IMAGES)
def test_nothing_is_fetched_from_an_address(image: str) -> None:
    assert arguments(image, "ADD") == []
    assert [argument for argument in arguments(image, "RUN") if re.search(r"https?:|curl|wget|apt", argument)] == []


@pytest.mark.parametrize("image", IMAGES)
def test_last_stage_only_copies(image: str) -> None:
    """Nothing that a builder needs is in the image: no pip's cache, no wheel."""
    names = instructions(image)
    last = names[max(index for index, (name, _) in enumerate(names) if name == "FROM") :]

    assert [argument for name, argument in last if name in ("COPY", "RUN")] == [
        "--from=packages /opt/venv /opt/venv",
        "--from=project /app /app",  # last, for it changes most
    ]


@pytest.mark.parametrize(("image", "module"), IMAGES.items())
def test_entrypoint_is_the_module(image: str, module: str) -> None:
    """Without a shell, so that SIGTERM reaches it; what the manifests start is the same."""
    assert [json.loads(argument) for argument in arguments(image, "ENTRYPOINT")] == [["python", "-m", module]]
    assert all(isinstance(json.loads(argument), list) for argument in arguments(image, "CMD"))


@pytest.mark.parametrize("image", IMAGES)
def test_image_has_the_folders_that_its_module_imports(image: str) -> None:
    assert copied(image) == {
        "shardline",
        *(name.split(".")[1] for name in imported(image) if name.startswith("shardline.")),
    }


@pytest.mark.parametrize("image", IMAGES)
def test_image_has_the_packages_that_its_module_imports(image: str) -> None:
    """Only dependencies in pyproject.toml count; these name their own dependencies (kserve names fastapi)."""
    homes = packages_distributions()
    tops = {name.partition(".")[0] for name in imported(image)}
    packages = {canonicalize_name(package) for top in tops for package in homes.get(top, [])}

    assert set(PINS.names(image)) == packages & REQUIREMENTS.keys() | NOT_IMPORTED[image]


def test_pins_are_complete() -> None:
    """Otherwise pip would choose a version at build time."""
    needed = PINS.closure([name for image in IMAGES for name in PINS.names(image)])

    assert needed.keys() == pins().keys()


def test_pins_are_within_bounds() -> None:
    wrong = [
        name for name, version in pins().items() if name in REQUIREMENTS and version not in REQUIREMENTS[name].specifier
    ]

    assert wrong == []


def test_builder_sees_only_what_is_copied() -> None:
    """Not .git, .venv, bundles or whatever else lies about."""
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    rules = [line for line in lines if not line.startswith("#")]
    folders = {"docker", "shardline/__init__.py"}.union(*(copied(image) for image in IMAGES)) - {"shardline"}

    assert rules == ["*", *(f"!{folder}" for folder in sorted(folders)), "**/__pycache__"]


@pytest.mark.parametrize("image", IMAGES)
def test_labels(image: str) -> None:
    labels = dict(re.findall(r'org\.opencontainers\.image\.([\w.]+)="([^"]+)"', " ".join(arguments(image, "LABEL"))))

    assert labels["title"] == f"shardline/{image}"
    assert labels["version"] == "${VERSION}"
    assert labels["base.name"] == "${BASE}"
    assert labels["description"]
    assert ("licenses" in labels) == ("license" in PROJECT)


# build.sh: with a PATH of its own, on which a tool stands only if the test puts it there

TOOL = '#!/bin/sh\n[ "$1" = info ] && exit 1\nfor each in "$@"; do printf "%s\\n" "$each"; done\n'


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A PATH with the programs of every system, without a builder."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("dirname", "find", "head", "realpath", "sed"):
        (folder / name).symlink_to(Path("/usr/bin") / name)
    return folder


def add_tool(programs: Path, name: str) -> None:
    """Add a builder that prints its arguments, one per line."""
    (programs / name).write_text(TOOL, encoding="utf-8")
    (programs / name).chmod(0o755)


def build(programs: Path, *images: str, **env: str) -> subprocess.CompletedProcess[str]:
    command = ["/bin/sh", str(ROOT / "docker" / "build.sh"), *images]
    env = {"PATH": str(programs), **env}
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize(
    ("tools", "images", "env", "message"),
    [
        pytest.param([], [], {}, "none of buildah, podman and docker is installed", id="no tool"),
        pytest.param(["docker"], [], {}, "docker's daemon does not answer", id="no daemon"),
        pytest.param(["podman"], [], {"TOOL": "buildah"}, "TOOL=buildah is not installed", id="tool not there"),
        pytest.param(["podman"], [], {"TOOL": "kaniko"}, "it may be buildah, podman or docker", id="unknown tool"),
        pytest.param(["podman"], ["router"], {}, "there is no image router", id="unknown image"),
        pytest.param(["podman"], [], {"WHEELS": "/nowhere"}, "WHEELS=/nowhere has no wheels", id="no wheels"),
    ],
)
def test_what_is_missing_is_one_line(
    programs: Path, tools: list[str], images: list[str], env: dict[str, str], message: str
) -> None:
    for tool in tools:
        add_tool(programs, tool)

    result = build(programs, *images, **env)

    assert result.returncode == 1
    assert result.stderr.startswith("error: ")
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""


def test_arguments_of_a_tool(programs: Path, tmp_path: Path) -> None:
    """The full name, with a host: so a node's containerd finds `shardline/client:VERSION` without pulling it."""
    add_tool(programs, "podman")
    (tmp_path / "numpy.whl").touch()

    result = build(programs, "client", WHEELS=str(tmp_path), BASE="base@sha256:12")
    told = result.stdout.splitlines()[1:]

    assert result.returncode == 0, result.stderr
    assert told[0] == "build"
    assert told[-1] == "."
    pairs = list(pairwise(told))
    assert ("--tag", f"docker.io/shardline/client:{PROJECT['version']}") in pairs
    assert ("--file", "docker/client.Dockerfile") in pairs
    assert ("--build-context", f"wheels={tmp_path}") in pairs
    assert ("--build-arg", "BASE=base@sha256:12") in pairs


@pytest.mark.parametrize(
    ("wheel", "env", "expected"),
    [
        pytest.param("torch-2.14.1+cpu-cp311.whl", {}, ["TORCH=cpu"], id="wheel"),
        pytest.param("", {"TORCH_INDEX": "index.example"}, ["TORCH=cpu", "TORCH_INDEX=index.example"], id="index"),
        pytest.param("torch-2.14.1-cp311.whl", {}, [], id="neither"),
    ],
)
def test_shard_cpu_is_built_with_the_cpu_build_of_torch(
    programs: Path, tmp_path: Path, wheel: str, env: dict[str, str], expected: list[str]
) -> None:
    """Without one it is the same image as shard, so that the manifests' default always exists."""
    add_tool(programs, "podman")
    if wheel:
        (tmp_path / wheel).touch()
        env = {"WHEELS": str(tmp_path), **env}

    result = build(programs, "shard-cpu", **env)
    pairs = list(pairwise(result.stdout.splitlines()))

    assert result.returncode == 0, result.stderr
    assert ("--file", "docker/shard.Dockerfile") in pairs
    assert ("--tag", f"docker.io/shardline/shard-cpu:{PROJECT['version']}") in pairs
    built = [value for name, value in pairs if name == "--build-arg" and value.startswith("TORCH")]
    assert built == expected
    assert ("holds the CUDA build" in result.stderr) == (not expected)


@pytest.mark.parametrize(
    ("build_of_torch", "expected"), [("cpu", "torch==2.14.1+cpu"), ("cuda", "torch==2.14.1,!=2.14.1+cpu")]
)
def test_install_takes_one_build_of_torch(tmp_path: Path, build_of_torch: str, expected: str) -> None:
    """install.sh with a pip that prints its constraints; the virtual environment lies in the test's folder."""
    text = (ROOT / "docker" / "install.sh").read_text(encoding="utf-8").replace("/opt/venv", str(tmp_path / "venv"))
    (tmp_path / "install.sh").write_text(text, encoding="utf-8")
    (tmp_path / "constraints.txt").write_text("numpy==2.4.6\ntorch==2.14.1\n", encoding="utf-8")
    (tmp_path / "pip").write_text('#!/bin/sh\ncat "$(dirname "$2")/../constraints.txt"; echo "$@"\n', encoding="utf-8")
    (tmp_path / "pip").chmod(0o755)
    env = os.environ | {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "TORCH": build_of_torch,
        "TORCH_INDEX": "cpu.example",
    }

    done = subprocess.run(
        ["sh", str(tmp_path / "install.sh"), "names.txt"], env=env, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[:2] == ["numpy==2.4.6", expected]
    assert "--extra-index-url=cpu.example" in done.stdout
