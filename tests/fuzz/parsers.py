"""Parsers of bytes from outside, as targets of fuzzers: each takes any bytes, and raises nothing but our own errors."""

import asyncio
import io
import json
import logging
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from aiohttp import web
from PIL import Image
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from uvicorn import Config
from uvicorn.server import ServerState

from shardline.formats.torchserve_import import read_archive
from shardline.manifests.graph import parse_spec
from shardline.manifests.router import Router
from shardline.manifests.transport import Headers, StepClient, StepResponse
from shardline.partition.archive import check_archive
from shardline.predictors.connection import BODY, BodyProtocol, ConnectionLimits, OpenConnections
from shardline.predictors.picture import fit_picture
from shardline.storage.bundle import PictureSpec, parse_bundle
from shardline.tasks.index import Entries, parse_entries
from shardline.wire.errors import ShardlineError
from shardline.wire.frame import Frame, decode, encode
from shardline.wire.limits import Limits
from shardline.wire.v1 import parse_request
from shardline.wire.view import View

CORPUS = Path(__file__).parent / "corpus"
_LIMITS = Limits(pixels=1_000_000)
_SPEC = PictureSpec(height=16, width=16)
_ARCHIVE = "models/model.json"
_TURNS = 6  # of the event loop, for each piece of data


def fuzz_frame(data: bytes) -> None:
    """Frames between stages; what can be decoded can be encoded."""
    with suppress(ShardlineError):
        assert encode(decode(data))


def fuzz_v1(data: bytes) -> None:
    """Bodies of predict requests."""
    with suppress(ShardlineError):
        parse_request(data, ["mask"] if data[:1] == b" " else [])


def fuzz_picture(data: bytes) -> None:
    """Picture files."""
    with suppress(ShardlineError):
        fit_picture(data, _SPEC, _LIMITS)


def fuzz_bundle(data: bytes) -> None:
    """bundle.json."""
    with suppress(ShardlineError):
        parse_bundle(data).to_json()


def fuzz_index(data: bytes) -> None:
    """Entries of a retrieval's index."""
    with suppress(ShardlineError):
        parse_entries(data)


def fuzz_archive(data: bytes) -> None:
    """Archives of shards: the file itself, or the description of its program."""
    with suppress(ShardlineError), _file(data, "shard.pt2", f"shard/{_ARCHIVE}") as path:
        check_archive(path)


def fuzz_mar(data: bytes) -> None:
    """TorchServe's model archives: the file itself, or its manifest."""
    with suppress(ShardlineError), _file(data, "model.mar", "MAR-INF/MANIFEST.json") as path:
        read_archive(path)


class _file:  # noqa: N801  # a context manager that is called like a function
    """A file with these bytes, or, if the first one is 0, a zip with the others as a member."""

    def __init__(self, data: bytes, name: str, member: str) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="fuzz-")
        self._path = Path(self._folder.name) / name
        if data[:1] != b"\0":
            self._path.write_bytes(data)
            return
        with zipfile.ZipFile(self._path, "w") as archive:
            archive.writestr(member, data[1:])
            archive.writestr(f"{member.partition('/')[0]}/version", b"0")

    def __enter__(self) -> Path:
        return self._path

    def __exit__(self, *_: object) -> None:
        self._folder.cleanup()


class ClosedTransport(asyncio.Transport):
    """Transport that keeps what is written, for a protocol without a socket."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 1), "sockname": ("127.0.0.1", 2)})
        self.written = bytearray()
        self._closing = False

    def write(self, data: Any) -> None:
        self.written += data

    def writelines(self, list_of_data: Any) -> None:
        self.written += b"".join(list_of_data)

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        self._closing = True

    def abort(self) -> None:
        self._closing = True

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass

    def is_reading(self) -> bool:
        return True

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass


async def _answer(scope: Scope, receive: Receive, send: Send) -> None:
    body = scope["state"].get(BODY)
    try:
        size = len(await body.whole()) if body is not None else await _received(receive)
    except ConnectionResetError:
        return
    await Response(str(size))(scope, receive, send)


async def _received(receive: Receive) -> int:
    size = 0
    while (message := await receive())["type"] == "http.request":
        size += len(message.get("body", b""))
        if not message.get("more_body"):
            break
    return size


@cache
def _loop() -> asyncio.AbstractEventLoop:
    logging.getLogger("shardline").setLevel(logging.CRITICAL)
    logging.getLogger("aiohttp").setLevel(logging.CRITICAL)
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    return asyncio.new_event_loop()


def fuzz_http(data: bytes) -> None:
    """HTTP of transformer and stage, in pieces: it holds no body any more when the connection is lost."""
    _loop().run_until_complete(_speak_model_server(data))


async def _speak_model_server(data: bytes) -> None:
    opened = OpenConnections(ConnectionLimits(body_bytes=2**16, held_bytes=2**18), "net")
    config = Config(_answer, log_level="critical", lifespan="off", access_log=False, interface="asgi3", ws="none")
    config.load()
    protocol = BodyProtocol(config=config, server_state=ServerState(), app_state={}, opened=opened)
    await _speak(protocol, data)
    assert opened.held_bytes == 0


class _Echo(StepClient):
    """A step that answers what it is sent."""

    def __init__(self) -> None:
        super().__init__(None)

    async def post(self, url: str, body: bytes, headers: Headers) -> StepResponse:  # noqa: ARG002
        return StepResponse(status=200, body=body)


def fuzz_router(data: bytes) -> None:
    """HTTP of the local router, in pieces."""
    _loop().run_until_complete(_speak_router(data))


async def _speak_router(data: bytes) -> None:
    graph = parse_spec({"nodes": {"root": {"routerType": "Sequence", "steps": [{"serviceUrl": "http://x"}]}}})
    app = web.Application(client_max_size=0)
    app.router.add_route("*", "/{path:.*}", Router(graph, _Echo(), ()).handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    assert runner.server is not None
    await _speak(runner.server(), data)
    await runner.cleanup()


async def _speak(protocol: Any, data: bytes) -> None:
    """Pass the data to a protocol in pieces, whose size is the first byte, and end the connection."""
    transport = ClosedTransport()
    protocol.connection_made(transport)
    size = 1 + (data[0] if data else 0) * 8
    rest = data[1:]
    for start in range(0, len(rest), size):
        if transport.is_closing():
            break
        protocol.data_received(rest[start : start + size])
        await _some_turns()
    await _some_turns()
    protocol.connection_lost(None)
    await _some_turns()


async def _some_turns() -> None:
    for _ in range(_TURNS):
        await asyncio.sleep(0)


PARSERS: dict[str, Callable[[bytes], None]] = {
    "frame": fuzz_frame,
    "v1": fuzz_v1,
    "picture": fuzz_picture,
    "bundle": fuzz_bundle,
    "index": fuzz_index,
    "archive": fuzz_archive,
    "mar": fuzz_mar,
    "http": fuzz_http,
    "router": fuzz_router,
}


def seeds(name: str) -> list[bytes]:
    """Return the corpus of a parser: files of a few hundred bytes, each a valid input or a reproducer."""
    return [path.read_bytes() for path in sorted((CORPUS / name).iterdir())]


def made_seeds() -> Iterator[tuple[str, str, bytes]]:
    """Yield parser, name and bytes of the valid inputs; `tests/fuzz/run.py --seeds` writes them to the corpus."""
    good = b"POST /v1/models/m:predict HTTP/1.1\r\nHost: a\r\n"
    chunked = good + b"Transfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n0\r\nX: y\r\n\r\n"
    for name in ("http", "router"):
        yield name, "length", b"\xff" + good + b"Content-Length: 3\r\n\r\nabc"
        yield name, "chunked", b"\x02" + chunked
        yield name, "pipelined", b"\xff" + 3 * (good + b"Content-Length: 3\r\n\r\nabc")
        yield name, "old", b"\xffPOST http://a/x HTTP/1.0\r\nContent-Length: 1\r\nConnection: keep-alive\r\n\r\na"
        yield name, "expect", b"\xff" + good + b"Expect: 100-continue\r\nContent-Length: 3\r\n\r\nabc"
        yield name, "upgrade", b"\xff" + good + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    yield "v1", "bare", b'{"instances": ["QUJD"], "parameters": {"top": 3}}'
    yield "v1", "object", b' {"instances": [{"image_bytes": {"b64": "QUJD"}, "mask": [[1, 2.5e3], null]}]}'
    yield "v1", "url", b'{"instances": [{"data": "data:image/png;a=b;base64,QUJD"}]}'
    yield "mar", "manifest", b"\0" + json.dumps({"model": {"modelName": "m", "serializedFile": "m.pt"}}).encode()
    yield "archive", "model", b'\0{"graph_module": {"graph": {"nodes": []}}, "schema_version": {"major": 8}}'
    entries = Entries(kind="flat", metric="cosine", width=2, effort=0, ids=("a", "b"), labels=("x", None))
    yield "index", "entries", entries.to_json()
    frame = Frame(
        tensors={"size": np.array([[480, 640]], np.uint16), "x": np.array([[1.0, -2.0]], np.float32)},
        bundle="sha256:2c",
        stage=1,
        timings={"transformer": 12.5},
        parameters={"top": 3},
        views=(View(width=640, height=480, left=0, top=0, across=2, down=2),),
    )
    yield "frame", "tensors", encode(frame)
    yield "bundle", "plates", (CORPUS.parents[2] / "manifests" / "plates" / "bundle.json").read_bytes()
    for kind in ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP"):
        with io.BytesIO() as file:
            Image.linear_gradient("L").resize((9, 7)).convert("RGB").save(file, kind)
            yield "picture", kind.lower(), file.getvalue()
