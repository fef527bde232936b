"""A scripted server as a real process, and the client as a user runs it."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from services.scripted import KubernetesApi, ScriptedServer

ROOT = Path(__file__).parents[2]
PREDICTION = {
    "label": "Egyptian cat",
    "index": 285,
    "score": 0.6123,
    "top": [
        {"label": "Egyptian cat", "index": 285, "score": 0.6123},
        {"label": "tabby", "index": 281, "score": 0.25},
    ],
}
ANSWER = {"json": {"predictions": [PREDICTION]}}


Serve = Callable[[dict[str, list[dict[str, Any]]]], ScriptedServer]


@pytest.fixture
def serve() -> Iterator[Serve]:
    servers: list[ScriptedServer] = []

    def start(script: dict[str, list[dict[str, Any]]]) -> ScriptedServer:
        servers.append(ScriptedServer(script))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


class PlateReader:
    """tests/services/plate_reader.py as a process, and what it was asked."""

    def __init__(self) -> None:
        program = ROOT / "tests" / "services" / "plate_reader.py"
        self.process = subprocess.Popen([sys.executable, str(program)], stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.url = f"http://127.0.0.1:{self.process.stdout.readline().strip()}"

    def requests(self) -> list[dict[str, Any]]:
        """All that came; the server ends."""
        self.process.kill()
        text, _ = self.process.communicate(timeout=30)
        return [json.loads(line) for line in text.splitlines()]


@pytest.fixture
def reader() -> Iterator[PlateReader]:
    started = PlateReader()
    yield started
    started.process.kill()
    started.process.communicate(timeout=30)


@pytest.fixture(scope="session")
def photograph() -> Image.Image:
    """4000 x 3000, with the noise of a real camera: over 6 MB as a JPEG."""
    random = np.random.default_rng(0)
    with Image.open(shipped("chelsea.png")) as opened:
        image = opened.convert("RGB").resize((4000, 3000))
    noise = Image.fromarray(random.integers(0, 256, (3000, 4000, 3), np.uint8))
    return Image.blend(image, noise, 0.12)


ServeKubernetes = Callable[..., KubernetesApi]


@pytest.fixture
def kubernetes(tmp_path: Path) -> Iterator[ServeKubernetes]:
    servers: list[KubernetesApi] = []

    def start(documents: list[dict[str, Any]] | None = None, **options: Any) -> KubernetesApi:
        folder = tmp_path / f"kubernetes-{len(servers)}"
        folder.mkdir()
        servers.append(KubernetesApi(folder, options))
        servers[-1].put(documents or [])
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Key and certificate for 127.0.0.1 and models.example.com, signed by itself."""
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    names = "subjectAltName=IP:127.0.0.1,DNS:models.example.com"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=test"]
    command += ["-addext", names, "-keyout", str(path), "-out", str(path.with_suffix(".crt"))]
    subprocess.run(command, check=True, capture_output=True)
    path.write_text(path.read_text() + path.with_suffix(".crt").read_text())
    return path


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    code: int
    out: str
    err: str


Client = Callable[..., Result]


@pytest.fixture
def command() -> list[str]:
    return [sys.executable, str(ROOT / "client" / "request.py")]


@pytest.fixture
def client(command: list[str], tmp_path: Path) -> Client:
    """Run the script, from a folder that is not the repository's, with no PYTHONPATH."""

    def run(*arguments: object, **env: str) -> Result:
        done = subprocess.run(
            [*command, *map(str, arguments)], cwd=tmp_path, env=plain_env(**env), capture_output=True, timeout=60
        )
        return Result(code=done.returncode, out=done.stdout.decode(), err=done.stderr.decode())

    return run


def plain_env(**more: str) -> dict[str, str]:
    apart = ("PYTHONPATH", "KUBECONFIG", "KUBERNETES_SERVICE_HOST")
    kept = {key: value for key, value in os.environ.items() if key not in apart and not key.startswith("SHARDLINE_")}
    return {**kept, "PYTHONUTF8": "1", **more}


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A JPEG photograph in a folder of its own."""
    return copy_shipped("rocket.jpg", tmp_path / "photos" / "rocket.jpg")


@pytest.fixture
def photos(photo: Path) -> Path:
    """A folder with four pictures, in an order that is not the alphabet's, and what is to be left alone."""
    folder = photo.parent
    copy_shipped("chelsea.png", folder / "b" / "chelsea.PNG")
    copy_shipped("coffee.png", folder / "a" / "coffee.png")
    copy_shipped("astronaut.png", folder / "astronaut.png")
    copy_shipped("astronaut.png", folder / ".hidden" / "astronaut.png")
    copy_shipped("astronaut.png", folder / "._rocket.jpg")
    (folder / "notes.txt").write_text("not a picture")
    (folder / "a" / "loop").symlink_to("..")
    return folder


def copy_shipped(name: str, to: Path) -> Path:
    to.parent.mkdir(parents=True, exist_ok=True)
    to.write_bytes(shipped(name).read_bytes())
    return to


def shipped(name: str) -> Path:
    spec = find_spec("skimage")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "data" / name


@pytest.fixture
def answer() -> dict[str, Any]:
    return ANSWER
