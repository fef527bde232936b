"""HTTP/1 as proxies and fuzzers send it, to transformer, stage and router: one reading, or 400 and an end."""

import asyncio
import io
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
import uvicorn
from PIL import Image
from services.processes import wait_until
from services.raw_http import CASES, CLOSED, Case, Good, send
from services.routers import Routers
from services.steps import Steps
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from shardline.partition.runtime import Golden
from shardline.predictors.connection import BodyProtocol, ConnectionLimits, OpenConnections
from shardline.predictors.endpoint import PredictEndpoint
from shardline.predictors.middleware import Drain
from shardline.predictors.model import BytesModel
from shardline.predictors.shard import ShardPredictor
from shardline.predictors.transformer import ImageTransformer, TransformerConfig
from shardline.storage.bundle import stage_folder
from shardline.storage.bundle_folder import open_bundle
from shardline.wire.frame import Frame, encode


@dataclass(frozen=True, slots=True)
class HttpServer:
    """A server by name, and a good request to it."""

    name: str
    port: int
    good: Good


def serve(model: BytesModel) -> tuple[uvicorn.Server, socket.socket]:
    """The model behind the protocol and the fast path of our servers; a body that has no length is read here."""

    async def others(scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        body = await request.body()
        known = request.url.path.startswith("/v1/models/")
        response = Response("none", 404)
        if known:
            answer = await model.answer_or_error(body, {})
            response = Response(b"".join(answer.parts))
        await response(scope, receive, send)

    app = PredictEndpoint(others, model, Drain(0))
    config = uvicorn.Config(
        app, log_level="critical", lifespan="off", access_log=False, interface="asgi3", proxy_headers=False, ws="none"
    )
    config.http = partial(BodyProtocol, opened=OpenConnections(ConnectionLimits(), "net"))  # type: ignore[assignment]
    return uvicorn.Server(config), socket.create_server(("127.0.0.1", 0))


@contextmanager
def running(model: BytesModel) -> Iterator[int]:
    server, listener = serve(model)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve([listener])))
    thread.start()
    wait_until(lambda: server.started, "the server")
    try:
        yield listener.getsockname()[1]
    finally:
        server.should_exit = server.force_exit = True
        thread.join()
        listener.close()


@contextmanager
def transformer(folder: Path) -> Iterator[HttpServer]:
    bundle = open_bundle(folder)
    config = TransformerConfig(
        bundle=bundle.digest,
        picture=bundle.picture,
        limits=bundle.limits,
        max_instances=1,
        request_timeout_ms=60_000,
        max_queue=32,
    )
    model = ImageTransformer("http-pre", None, config)
    model.load()
    with io.BytesIO() as file, running(model) as port:
        Image.new("RGB", (40, 30)).save(file, "PNG")
        yield HttpServer("transformer", port, Good(path="/v1/models/http-pre:predict", body=file.getvalue()))


@contextmanager
def stage(folder: Path) -> Iterator[HttpServer]:
    model = ShardPredictor("http-0", folder / stage_folder(0), open_bundle(folder).digest)
    model.load()
    inputs = Golden.load(folder / stage_folder(0)).inputs
    frame = encode(Frame(tensors=inputs, bundle=open_bundle(folder).digest, stage=0))
    with running(model) as port:
        yield HttpServer("stage", port, Good(path="/v1/models/http-0:predict", body=frame))


@contextmanager
def router(_: Path) -> Iterator[HttpServer]:
    steps, routers = Steps(), Routers(kserve=False)
    try:
        port = routers(steps.echo().hard()).port
        yield HttpServer("router", port, Good(path="/v1/models/m:predict", body=b'{"instances": [1]}'))
    finally:
        routers.stop()
        steps.stop()


@pytest.fixture(scope="module", params=[transformer, stage, router], ids=lambda start: start.__name__)
def server(request: pytest.FixtureRequest, small_bundle: Path) -> Iterator[HttpServer]:
    with request.param(small_bundle) as started:
        yield started


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_one_reading_or_an_end(server: HttpServer, case: Case) -> None:
    expected = case.expected(server.name)
    closes = CLOSED in expected
    replies, closed = send(server.port, case.make(server.good), len(expected) - closes + closes)

    assert [reply.status for reply in replies] == [status for status in expected if status != CLOSED]
    assert closed is closes
    if 200 in expected and case.same:
        assert _result(replies[-1].body) == _result(_plain_reply(server))


def test_a_request_in_single_bytes(server: HttpServer) -> None:
    data = CASES["chunked"].make(server.good)[:400]
    with socket.create_connection(("127.0.0.1", server.port)) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in data:
            client.sendall(bytes([byte]))

    assert _plain_reply(server)


@pytest.mark.parametrize("size", [0, 5], ids=["whole", "cut off"])
def test_a_client_that_closes_its_side_is_not_waited_for(server: HttpServer, size: int) -> None:
    """It is taken for one that left, as by most servers; a body that is not whole is never computed."""
    length = f"Content-Length: {len(server.good.body) + size}"
    replies, closed = send(server.port, server.good.request(length), 2, half_close=True)

    assert closed
    assert [reply.status for reply in replies] in ([], [200]) if size == 0 else replies == []


def _plain_reply(server: HttpServer) -> bytes:
    [reply], _ = send(server.port, CASES["plain"].make(server.good), 1)
    assert reply.status == 200
    return reply.body


def _result(body: bytes) -> bytes:
    """The part of a frame behind its header, which has times; other bodies as they are."""
    return body[8 + int.from_bytes(body[:8], "little") :] if body[8:9] == b"{" else body
