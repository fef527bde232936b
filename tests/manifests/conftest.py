"""What several tests of the manifests need: a bundle, a router as a process, and tiny steps for it to call."""

import fcntl
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from http.client import HTTPConnection, HTTPResponse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from storage.bundle import Bundle, PictureSpec, Stage, Task, TensorSpec
from wire.limits import Limits

KSERVE_ROUTER = os.environ.get("SHARDLINE_KSERVE_ROUTER")
DEADLINE_S = 15
ROOT = Path(__file__).parents[2]


@pytest.fixture
def make_bundle() -> Callable[..., Bundle]:
    """`make_bundle(stages=3, name="resnet50", …)` -> Bundle; more keywords replace its fields."""
    return _make_bundle


def _make_bundle(*, stages: int = 3, name: str = "resnet50", **changes: object) -> Bundle:
    bundle = Bundle(
        name=name,
        model="torchvision:resnet50",
        weights="random:0",
        precision="fp32",
        torch_version="2.14.1",
        task=Task(name="classify"),
        picture=PictureSpec(height=224, width=224, fit="crop", resize=256),
        limits=Limits(),
        batch=8,
        max_instances=8,
        threads=2,
        stages=tuple(_stage(index, stages) for index in range(stages)),
    )
    return replace(bundle, **changes)  # type: ignore[arg-type]


def _stage(index: int, count: int) -> Stage:
    spec = TensorSpec(name="x", dtype="F32", shape=("batch", 512, 28, 28), dim_order=(0, 1, 2, 3))
    return Stage(
        index=index,
        cut=None if index == count - 1 else f"layer{index + 1}",
        inputs=(spec,),
        outputs=(spec,),
        model_ms=100.0,
        weight_bytes=30_000_000,
        output_bytes=1_605_632,
    )


@pytest.fixture
def wait_until() -> Callable[[Callable[[], bool]], None]:
    return _wait_until


def _wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


@pytest.fixture
def free_port() -> Callable[[], int]:
    return _free_port


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def listens() -> Callable[[int], bool]:
    return _listens


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


Answer = tuple[int, dict[str, str], bytes]
Reply = Callable[[Request], Answer]


@dataclass(slots=True)
class Step:
    """One step of a graph: a server that answers `reply(request)` and remembers what it was asked."""

    reply: Reply
    requests: list[Request] = field(default_factory=list)
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1/models/m:predict"

    def hard(self) -> dict[str, Any]:
        """As Shardline renders a step."""
        return {"serviceUrl": self.url, "dependency": "Hard", "data": "$response"}


class Steps:
    """Starts steps."""

    def __init__(self) -> None:
        self._running: list[tuple[ThreadingHTTPServer, threading.Thread]] = []

    def replies(self, reply: Reply, *, port: int = 0) -> Step:
        step = Step(reply)
        server = ThreadingHTTPServer(("127.0.0.1", port), _handler(step))
        server.daemon_threads = True
        step.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        self._running.append((server, thread))
        return step

    def says(self, body: bytes, status: int = 200, **headers: str) -> Step:
        return self.replies(lambda _: (status, headers, body))

    def echo(self, *, port: int = 0) -> Step:
        return self.replies(lambda request: (200, {}, request.body), port=port)

    def stop(self) -> None:
        for server, thread in self._running:
            server.shutdown()
            server.server_close()
            thread.join()


@pytest.fixture
def steps() -> Iterator[Steps]:
    steps = Steps()
    yield steps
    steps.stop()


def _handler(step: Step) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            request = Request(method=self.command, path=self.path, headers=dict(self.headers.items()), body=body)
            step.requests.append(request)
            status, headers, answer = step.reply(request)
            self.send_response(status)
            for name, value in ({"Content-Length": str(len(answer))} | headers).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer)

        do_GET = do_POST  # noqa: N815 the base class's name

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler


@dataclass(slots=True)
class Running:
    port: int
    process: subprocess.Popen[bytes]

    def ask(
        self,
        body: bytes | None = b"{}",
        *,
        method: str = "POST",
        path: str = "/",
        headers: dict[str, str] | None = None,
    ) -> tuple[HTTPResponse, bytes]:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE_S)
        try:
            connection.request(method, path, body=body, headers=headers or {})
            response = connection.getresponse()
            return response, response.read()
        finally:
            connection.close()


StartRouter = Callable[..., Running]


@pytest.fixture(
    params=[
        "ours",
        pytest.param(
            "kserve",
            marks=pytest.mark.skipif(not KSERVE_ROUTER, reason="SHARDLINE_KSERVE_ROUTER names no router of KServe's"),
        ),
    ]
)
def router(request: pytest.FixtureRequest) -> Iterator[StartRouter]:
    """`router(step, step, …, propagate=None, timeouts=None) -> Running`; a step is a Step or its dictionary."""
    started: list[subprocess.Popen[bytes]] = []

    def start(
        *steps: Step | dict[str, Any], propagate: str | None = None, timeouts: dict[str, int] | None = None
    ) -> Running:
        targets = [{"serviceUrl": step.url} if isinstance(step, Step) else step for step in steps]
        spec: dict[str, Any] = {"nodes": {"root": {"routerType": "Sequence", "steps": targets}}}
        spec |= {"routerTimeouts": timeouts} if timeouts else {}
        port, command = _command(request.param)
        assert not _listens(port), f"port {port} is taken"
        process = subprocess.Popen(
            [*command, "--graph-json", json.dumps(spec)], env=_env(propagate), cwd=ROOT, stderr=subprocess.DEVNULL
        )
        started.append(process)
        _wait_until(lambda: process.poll() is not None or _listens(port))
        return Running(port, process)

    if request.param == "kserve":
        request.getfixturevalue("kserve_port")
    yield start
    for process in started:
        process.kill()
        process.wait()


@pytest.fixture
def kserve_port() -> Iterator[int]:
    """KServe's router listens on port 8080 only: tests that run side by side take it in turn."""
    with (Path(tempfile.gettempdir()) / "shardline-tests-kserve-router.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield 8080


def _command(which: str) -> tuple[int, list[str]]:
    if which == "kserve":
        return 8080, [str(KSERVE_ROUTER)]
    port = _free_port()
    return port, [sys.executable, "-m", "manifests.router", "--port", str(port)]


def _env(propagate: str | None) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if name != "PROPAGATE_HEADERS"}
    return inherited | ({} if propagate is None else {"PROPAGATE_HEADERS": propagate})
