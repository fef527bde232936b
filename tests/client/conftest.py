"""A scripted server as a real process, and the client as a user runs it."""

import base64
import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One request as the server saw it."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class ScriptedServer:
    def __init__(self, script: dict[str, list[dict[str, Any]]]) -> None:
        program = ROOT / "tests" / "services" / "scripted_server.py"
        command = [sys.executable, str(program), json.dumps(script)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        # a thread reads along: a server that waits for its own output to be read would not answer
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.url = f"http://127.0.0.1:{self._lines.get(timeout=30).strip()}"

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as stdout:
            for line in stdout:
                self._lines.put(line)

    def next_request(self) -> Seen:
        """Waits for it."""
        seen = json.loads(self._lines.get(timeout=30))
        return Seen(**{**seen, "body": base64.b64decode(seen["body"])})

    def requests(self) -> list[Seen]:
        """All that came and were not yet taken; the server ends."""
        self.stop()
        return [self.next_request() for _ in range(self._lines.qsize())]

    def stop(self) -> None:
        self.process.kill()
        self.process.wait(timeout=10)
        self._reader.join(timeout=10)


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
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "SHARDLINE_URL")}
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
    spec = find_spec("skimage")
    assert spec is not None
    assert spec.origin is not None
    to.parent.mkdir(parents=True, exist_ok=True)
    to.write_bytes((Path(spec.origin).parent / "data" / name).read_bytes())
    return to


@pytest.fixture
def answer() -> dict[str, Any]:
    return ANSWER
