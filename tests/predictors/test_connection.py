"""Bounds of connections: headers, silent and slow bodies, upgrades, and clients that leave."""

import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from functools import partial

import pytest
import uvicorn
from services.processes import wait_until
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from shardline.predictors.connection import BODY, Body, BodyProtocol, ConnectionLimits, OpenConnections

KIB = 1024
Serve = Callable[..., "Server"]


class Server:
    """A server that answers with the length of each body, in a thread of this process."""

    def __init__(self, limits: ConnectionLimits) -> None:
        self.opened = OpenConnections(limits, "net")
        self.lost = 0
        config = uvicorn.Config(self._answer, log_level="error", lifespan="off", access_log=False, interface="asgi3")
        config.http = partial(BodyProtocol, opened=self.opened)  # type: ignore[assignment]
        self._server = uvicorn.Server(config)
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._socket]})

    def __enter__(self) -> "Server":
        self._thread.start()
        wait_until(lambda: self._server.started, "the server")
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._server.force_exit = True
        self._thread.join()
        self._socket.close()

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/slow":
            await self._wait_until_lost(scope["state"][BODY])
            return
        size = await _size(scope, receive)
        if size is not None:
            await Response(str(size))(scope, receive, send)

    async def _wait_until_lost(self, body: Body) -> None:
        gone = asyncio.Event()
        await body.whole()
        body.when_lost = gone.set
        await gone.wait()
        self.lost += 1


async def _size(scope: Scope, receive: Receive) -> int | None:
    body = scope["state"].get(BODY)
    if body is not None:
        try:
            return len(await body.whole())
        except ConnectionResetError:
            return None
    size = 0
    while (message := await receive())["type"] == "http.request":
        size += len(message["body"])
        if not message.get("more_body"):
            return size
    return None


@pytest.fixture
def serve() -> Iterator[Serve]:
    with ExitStack() as stack:
        yield lambda **limits: stack.enter_context(Server(ConnectionLimits(**limits)))


class Client:
    """One connection, whose every byte the test decides."""

    def __init__(self, server: Server) -> None:
        self.socket = socket.create_connection(("127.0.0.1", server.port), timeout=30)

    def send(self, *pieces: bytes) -> "Client":
        for piece in pieces:
            self.socket.sendall(piece)
        return self

    def reply(self) -> tuple[int, bytes, dict[str, str]]:
        file = self.socket.makefile("rb")
        line = file.readline()
        assert line, "the connection was closed without a reply"
        headers = {}
        while header := file.readline().strip():
            name, _, value = header.decode().partition(":")
            headers[name.lower()] = value.strip()
        return int(line.split()[1]), file.read(int(headers["content-length"])), headers

    def is_closed(self) -> bool:
        """Wait for the server to close the connection, and drop what it sent before."""
        try:
            while self.socket.recv(65536):
                pass
        except ConnectionResetError:
            pass
        return True

    def close(self) -> None:
        self.socket.close()


@pytest.fixture
def connect() -> Iterator[Callable[[Server], Client]]:
    with ExitStack() as stack:
        yield lambda server: stack.enter_context(closing(Client(server)))


def head(size: int | None = None, *headers: str, path: str = "/") -> bytes:
    length = [] if size is None else [f"Content-Length: {size}"]
    return "\r\n".join([f"POST {path} HTTP/1.1", "Host: a", *length, *headers, "", ""]).encode()


def error(reply: tuple[int, bytes, dict[str, str]]) -> tuple[int, str]:
    return reply[0], json.loads(reply[1])["error"]


@pytest.mark.parametrize(
    "request_bytes",
    [
        pytest.param(head(0, "X: " + "x" * 5000), id="one long header"),
        pytest.param(head(0, *(f"X-{number}: " + "x" * 500 for number in range(20))), id="many headers"),
        pytest.param(b"POST /" + b"x" * 5000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", id="a long path"),
        pytest.param(b"POST / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 200_000, id="a header that never ends"),
        pytest.param(head(0, *(f"X-{number}: x" for number in range(200))), id="too many short ones"),
    ],
)
def test_headers_are_limited(serve: Serve, connect: Callable[[Server], Client], request_bytes: bytes) -> None:
    client = connect(serve(header_bytes=4 * KIB, headers=100))

    status, message = error(client.send(request_bytes).reply())

    assert status == 431
    assert "header" in message
    assert client.is_closed()


def test_headers_that_never_end_are_answered_in_time(serve: Serve, connect: Callable[[Server], Client]) -> None:
    client = connect(serve(header_s=0.2)).send(b"POST / HTTP/1.1\r\nHost: a\r\n")

    assert error(client.reply()) == (408, "net: the headers took longer than 0.2 s: send them at once")
    assert client.is_closed()


@pytest.mark.parametrize("headers", [["Content-Length: 1000000"], ["Transfer-Encoding: chunked"]], ids=" ".join)
def test_a_body_that_stops_is_answered_in_time(
    serve: Serve, connect: Callable[[Server], Client], headers: list[str]
) -> None:
    client = connect(serve(rate_window_s=0.2)).send(head(None, *headers), b"4\r\nabcd\r\n")

    status, message = error(client.reply())

    assert status == 408
    assert "KiB/s are needed" in message


def test_silent_bodies_give_way_to_new_ones(serve: Serve, connect: Callable[[Server], Client]) -> None:
    """Eight clients hold all but the last byte of their bodies: nobody else waits, and the memory stays bounded."""
    server = serve(held_bytes=300 * KIB, body_bytes=100 * KIB, rate_window_s=60.0)
    silent = [connect(server).send(head(100 * KIB), b"x" * (100 * KIB - 1)) for _ in range(8)]

    for size in (10, 50 * KIB, 100 * KIB):
        assert connect(server).send(head(size), b"x" * size).reply()[:2] == (200, str(size).encode())

    wait_until(lambda: server.opened.held_bytes <= 300 * KIB, "the silent bodies to be given up")
    status, message = error(silent[0].reply())
    assert status == 503
    assert "most silent" in message
    for client in silent:
        client.close()
    wait_until(lambda: server.opened.held_bytes == 0, "everything to be freed")


def test_chunked_bodies_are_counted(serve: Serve, connect: Callable[[Server], Client]) -> None:
    server = serve(held_bytes=100 * KIB, body_bytes=100 * KIB, rate_window_s=60.0)
    first = connect(server).send(head(None, "Transfer-Encoding: chunked"), b"f000\r\n" + b"x" * 0xF000 + b"\r\n")
    wait_until(lambda: server.opened.held_bytes == 0xF000, "the first body")

    second = connect(server).send(head(60 * KIB), b"x" * 60 * KIB)

    assert second.reply()[:2] == (200, b"61440")
    assert first.reply()[0] == 503


def test_what_is_over_the_limit_is_not_counted(serve: Serve, connect: Callable[[Server], Client]) -> None:
    server = serve(held_bytes=100 * KIB, body_bytes=10 * KIB)

    assert connect(server).send(head(200 * KIB), b"x" * 200 * KIB).reply()[:2] == (200, b"204800")
    assert server.opened.held_bytes == 0


def test_the_most_silent_connection_gives_way(serve: Serve, connect: Callable[[Server], Client]) -> None:
    server = serve(connections=3)
    silent = [connect(server) for _ in range(3)]
    for client in (*silent, silent[0]):
        assert client.send(head(2), b"ab").reply()[0] == 200

    assert connect(server).send(head(2), b"ab").reply()[0] == 200

    assert silent[1].is_closed()
    assert silent[0].send(head(3), b"abc").reply()[:2] == (200, b"3")


def test_an_upgrade_with_a_body_is_refused(serve: Serve, connect: Callable[[Server], Client]) -> None:
    """The parser would read the body as the next request, which a proxy in front never saw."""
    client = connect(serve()).send(head(40, "Connection: Upgrade", "Upgrade: h2c"))

    status, message = error(client.reply())

    assert (status, "Upgrade" in message) == (400, True)
    assert client.is_closed()


@pytest.mark.parametrize("hosts", [[], ["Host: a", "Host: b"]], ids=["none", "two"])
def test_one_host_is_needed(serve: Serve, connect: Callable[[Server], Client], hosts: list[str]) -> None:
    request = "\r\n".join(["POST / HTTP/1.1", *hosts, "Content-Length: 0", "", ""]).encode()

    status, message = error(connect(serve()).send(request).reply())

    assert status == 400
    assert "Host" in message


def test_a_bad_request_behind_a_running_one_does_not_take_its_answer(
    serve: Serve, connect: Callable[[Server], Client]
) -> None:
    client = connect(serve(header_bytes=KIB)).send(head(2), b"a")
    client.send(b"b" + head(0, "X: " + "x" * 2000))

    assert client.reply()[:2] == (200, b"2")
    assert client.is_closed()


def test_a_client_that_leaves_stops_its_answer(serve: Serve, connect: Callable[[Server], Client]) -> None:
    server = serve()
    client = connect(server).send(head(2, path="/slow"), b"ab")
    wait_until(lambda: server.opened.held_bytes == 2, "the body")

    client.close()

    wait_until(lambda: server.lost == 1, "the answer to be stopped")
    wait_until(lambda: server.opened.held_bytes == 0, "the body to be freed")


def test_a_chunked_body_that_is_too_long_is_refused_at_once(serve: Serve, connect: Callable[[Server], Client]) -> None:
    """Its end, which would take ten seconds or never come, is not waited for."""
    client = connect(serve(body_bytes=2 * KIB))
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
    client.send(b"c00\r\n" + bytes(3 * KIB) + b"\r\n")
    started = time.monotonic()

    status, message = error(client.reply())

    assert status == 413
    assert message.startswith("net: the body has at least 3072 bytes, at most 2048")
    assert time.monotonic() - started < 5


def test_many_requests_on_one_connection_hold_nothing(serve: Serve, connect: Callable[[Server], Client]) -> None:
    server = serve(held_bytes=3 * KIB, body_bytes=2 * KIB)
    client = connect(server)

    for _ in range(10):
        assert client.send(head(2 * KIB), b"x" * 2 * KIB).reply()[:2] == (200, b"2048")

    assert server.opened.held_bytes == 0


def test_bodies_that_are_read_in_turns_arrive_whole(serve: Serve, connect: Callable[[Server], Client]) -> None:
    server = serve(turn_bytes=300 * KIB)
    clients = [connect(server) for _ in range(8)]
    senders = [threading.Thread(target=client.send, args=(head(2**22), bytes(2**22))) for client in clients]
    for sender in senders:
        sender.start()

    assert connect(server).send(head(2), b"ab").reply()[:2] == (200, b"2")
    assert [client.reply()[:2] for client in clients] == [(200, b"4194304")] * 8
    for sender in senders:
        sender.join()
