"""The images as they run in a pod: a read-only root, no capabilities, a user that is nobody's.

They need podman and the images (`make images`); KServe's part, the graph, is not here, so the chain has one stage.
"""

import json
import shutil
import subprocess
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import requests
from services.processes import ROOT, answers, free_port, wait_until

from shardline.manifests.resources import USER
from shardline.partition.runtime import Golden
from shardline.storage.bundle import Bundle
from shardline.storage.bundle_folder import read_stage
from shardline.wire.frame import Frame, decode, encode

VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
IMAGES = {name: f"docker.io/shardline/{name}:{VERSION}" for name in ("shard", "transformer", "client")}
BASE = "docker.io/library/python:3.11-slim-bookworm"
TRANSFORMER_BYTES = 400 * 1000**2  # beyond its base
# as pods are restricted; podman would else make /run and /var/tmp writable, too
RESTRICTED = [
    "--read-only",
    "--read-only-tmpfs=false",
    "--tmpfs=/tmp",
    "--cap-drop=ALL",
    "--security-opt=no-new-privileges",
]
# a container in a container may not raise its limits
MACHINE = ["--network=host", "--ulimit=nofile=1024:1024", "--ulimit=nproc=1024:1024", "--no-healthcheck"]


def podman(*arguments: str, stdin: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
    runtime = ["--runtime=runc"] if shutil.which("runc") else []
    command = ["podman", *runtime, *arguments]
    return subprocess.run(command, input=stdin, capture_output=True, timeout=300, check=False)


def missing() -> str:
    """Why these tests cannot run here."""
    if not shutil.which("podman"):
        return "podman is not installed"
    absent = [name for name in IMAGES.values() if podman("image", "exists", name).returncode]
    return f"not built: {', '.join(absent)} (make images)" if absent else ""


MISSING = missing()
pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(MISSING), reason=MISSING)]


def run(image: str, *arguments: str, options: list[str] | None = None) -> subprocess.CompletedProcess[bytes]:
    """A container until it ends."""
    return podman("run", "--rm", *RESTRICTED, *MACHINE, *(options or []), IMAGES[image], *arguments)


def python(image: str, source: str) -> str:
    done = podman("run", "--rm", *RESTRICTED, *MACHINE, "--entrypoint=python", IMAGES[image], "-c", source)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


@pytest.fixture
def serve() -> Iterator[Callable[..., str]]:
    """Start a server's container -> its model's URL, once it is ready."""
    started: list[str] = []

    def start(image: str, *arguments: str, options: tuple[str, ...] = ()) -> str:
        port = free_port()
        flags = [f"--http_port={port}", "--model_name=small", "--enable_grpc=false"]
        done = podman("run", "--detach", *RESTRICTED, *MACHINE, *options, IMAGES[image], *flags, *arguments)
        assert done.returncode == 0, done.stderr.decode()
        name = done.stdout.decode().split()[-1]
        started.append(name)
        url = f"http://127.0.0.1:{port}/v1/models/small"
        wait_until(lambda: not is_running(name) or answers(url), f"{image} ready")
        assert is_running(name), podman("logs", name).stderr.decode()
        return f"{url}:predict"

    yield start
    for name in reversed(started):
        podman("stop", "--time=30", name)
        code = podman("inspect", "--format={{.State.ExitCode}}", name).stdout.decode().strip()
        podman("rm", "--force", name)
        assert code == "0", f"after SIGTERM: {code}"


def is_running(name: str) -> bool:
    return podman("inspect", "--format={{.State.Running}}", name).stdout.strip() == b"true"


def mounted(folder: Path) -> str:
    """A bundle of the tests' is its owner's alone; the container's user is another."""
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return f"--volume={folder}:/mnt/models:ro"


@pytest.fixture
def stage(tmp_path: Path, single_bundle: Path) -> Path:
    return Path(shutil.copytree(single_bundle / "stages" / "0", tmp_path / "stage"))


def golden_frame(folder: Path) -> tuple[Bundle, Golden, bytes]:
    bundle, stage = read_stage(folder)
    golden = Golden.load(folder)
    tensors = dict(golden.inputs)
    return bundle, golden, encode(Frame(tensors=tensors, bundle=bundle.digest, stage=stage.index, request_id="golden"))


def transformer_arguments(bundle: Bundle, predictor: str) -> list[str]:
    host = predictor.removeprefix("http://").partition("/")[0]
    picture = bundle.picture
    size = [f"--input_size={picture.height}x{picture.width}", f"--fit={picture.fit}"]
    resize = [f"--resize={picture.resize}"] if picture.resize is not None else []
    return [f"--predictor_host={host}", f"--bundle_digest={bundle.digest}", *size, *resize]


@pytest.mark.parametrize("image", IMAGES)
def test_user_and_what_it_may_write(image: str) -> None:
    """/tmp and nothing else."""
    source = """
import os, tempfile
def writes(folder):
    try:
        open(f"{folder}/probe", "w").close()
    except OSError:
        return False
    return True
print(os.getuid(), os.getgid(), tempfile.gettempdir(), os.path.expanduser("~"))
print(*(folder for folder in ("/", "/app", "/opt/venv", "/run", "/var/tmp", "/pictures", "/tmp") if writes(folder)))
"""

    assert python(image, source).splitlines() == [f"{USER} {USER} /tmp /tmp", "/tmp"]


@pytest.mark.parametrize(
    ("image", "absent"),
    [
        ("shard", ["google.cloud", "rich", "typer", "skimage", "pip", "shardline", "manifests", "client"]),
        (
            "transformer",
            ["torch", "torchvision", "google.cloud", "rich", "typer", "skimage", "pip", "partition", "shardline"],
        ),
        ("client", ["torch", "kserve", "google.cloud", "rich", "typer", "skimage", "pip", "storage", "shardline"]),
    ],
)
def test_what_is_not_in_an_image(image: str, absent: list[str]) -> None:
    source = f"""
from importlib.util import find_spec
def there(name):
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:
        return False
print(*(name for name in {absent} if there(name)))
"""

    assert python(image, source).split() == []


@pytest.mark.parametrize("image", IMAGES)
def test_bytecode_is_there(image: str) -> None:
    """A read-only root cannot keep what Python would compile at each start."""
    source = """
import pathlib, requests
from importlib.util import cache_from_source
sources = [*pathlib.Path("/app").rglob("*.py"), requests.__file__]
print(len(sources) > 10, *(path for path in sources if not pathlib.Path(cache_from_source(path)).exists()))
"""

    assert python(image, source).split() == ["True"]


def test_transformer_is_small() -> None:
    sizes = [
        int(podman("image", "inspect", "--format={{.Size}}", name).stdout) for name in (IMAGES["transformer"], BASE)
    ]

    assert sizes[0] - sizes[1] < TRANSFORMER_BYTES


def test_stage_answers_its_golden_frame(small_bundle: Path, tmp_path: Path, serve: Callable[..., str]) -> None:
    """From a folder that it may only read."""
    folder = Path(shutil.copytree(small_bundle / "stages" / "1", tmp_path / "stage"))
    bundle, golden, frame = golden_frame(folder)

    url = serve("shard", "--model_dir=/mnt/models", f"--bundle_digest={bundle.digest}", options=(mounted(folder),))
    reply = requests.post(url, data=frame, timeout=60)

    assert reply.status_code == 200, reply.text
    tensors = decode(reply.content).tensors
    assert tensors.keys() == golden.outputs.keys()
    for name, value in golden.outputs.items():
        np.testing.assert_allclose(tensors[name], value, rtol=0, atol=1e-5)


def test_client_asks_a_chain(stage: Path, tmp_path: Path, photographs: list[bytes], serve: Callable[..., str]) -> None:
    """Three containers: the picture goes through all of them, and the answer is what curl gets, too."""
    bundle, _ = read_stage(stage)
    shard = serve("shard", "--model_dir=/mnt/models", options=(mounted(stage),))
    url = serve("transformer", *transformer_arguments(bundle, shard))
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    (pictures / "photo.jpg").write_bytes(photographs[0])

    mount = f"--volume={pictures}:/pictures:ro"
    pictures.chmod(0o755)
    done = run("client", "photo.jpg", "--json", f"--url={url}", options=[mount])

    assert done.returncode == 0, done.stderr.decode()
    expected = requests.post(url, data=photographs[0], timeout=60).json()["predictions"][0]
    assert json.loads(done.stdout)["predictions"][0] == expected


def test_shard_refuses_a_damaged_file(stage: Path) -> None:
    """One line, exit code 1, before its port opens."""
    archive = stage / "shard.pt2"
    content = bytearray(archive.read_bytes())
    content[len(content) // 2] ^= 1
    archive.write_bytes(content)

    done = run("shard", options=[mounted(stage)])

    assert done.returncode == 1
    lines = [
        line for line in done.stderr.decode().splitlines() if "systemd" not in line
    ]  # podman's own, without systemd
    assert len(lines) == 1
    assert lines[0].startswith("error: stages/0/shard.pt2 has sha256 ")
