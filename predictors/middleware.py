"""ASGI middlewares: connection draining after SIGTERM, and a limit on the size of request bodies.

Draining ends a server without an error for any client: after SIGTERM every response says `Connection: close`, and the
server ends some seconds later. A server that closes an idle connection at once races with a client that has just sent a
request on it: KServe's router then answers 500, since Go does not send a POST twice. A client that is asked to close
the connection opens its next one itself, and by then the Service no longer lists this pod. A connection that is still
idle at the end has not been used for as long.
"""

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shardline.predictors.model import error_reply
from shardline.wire.errors import TooLargeError
from shardline.wire.limits import format_bytes

CLOSE = (b"connection", b"close")

_DRAINED_FACTOR = 8  # at most this multiple of the limit is drained of a body, so that its sender hears the answer
_DRAINED_SECONDS = 10.0


class Drain:
    """State of the server's shutdown. `seconds` is how long it still answers after SIGTERM."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self.begun = False

    @contextmanager
    def on_sigterm(self) -> Iterator[None]:
        """While the block runs, SIGTERM begins to drain, and the server's own handler is called when that is done.

        Enter it in the main thread, with an event loop running and the server's handler in place. A second SIGTERM
        ends the server at once.
        """
        loop = asyncio.get_running_loop()
        stop = signal.getsignal(signal.SIGTERM)
        assert callable(stop)

        def begin(number: int, frame: FrameType | None) -> None:
            if self.begun or self._seconds <= 0:
                stop(number, frame)
                return
            self.begun = True
            loop.call_soon_threadsafe(loop.call_later, self._seconds, stop, number, None)

        signal.signal(signal.SIGTERM, begin)
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, stop)


class CloseConnections:
    """ASGI middleware: while the server drains, each response ends its connection."""

    def __init__(self, app: ASGIApp, drain: Drain) -> None:
        self._app = app
        self._drain = drain

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_and_close(message: Message) -> None:
            if message["type"] == "http.response.start" and self._drain.begun:
                message = {**message, "headers": [*message.get("headers", []), CLOSE]}
            await send(message)

        await self._app(scope, receive, send_and_close if scope["type"] == "http" else send)


class BodyLimit:
    """ASGI middleware: a body over `limit_bytes` gets a 413; its bytes are drained, not buffered."""

    def __init__(self, app: ASGIApp, label: str, limit_bytes: int) -> None:
        self._app = app
        self._label = label
        self._limit_bytes = limit_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        declared = int(headers.get(b"content-length", b"0"))
        if declared > self._limit_bytes:
            if b"expect" not in headers:
                await self._drain_body(receive)
            await self._too_large(f"{declared} bytes")(scope, receive, send)
            return
        counted = _CountedReceive(receive, self._limit_bytes)
        try:
            await self._app(scope, counted, send)
        except _LimitExceeded:
            await self._drain_body(receive)
            await self._too_large(f"at least {counted.size_bytes} bytes")(scope, receive, send)

    async def _drain_body(self, receive: Receive) -> None:
        left = self._limit_bytes * _DRAINED_FACTOR
        try:
            async with asyncio.timeout(_DRAINED_SECONDS):
                while left > 0:
                    message = await receive()
                    left -= len(message.get("body", b""))
                    if not message.get("more_body"):
                        return
        except TimeoutError:
            return

    def _too_large(self, size: str) -> Response:
        return error_reply(
            TooLargeError(
                f"{self._label}: the body has {size}, at most {self._limit_bytes} ({format_bytes(self._limit_bytes)}) "
                "are read: send a smaller picture or fewer instances"
            )
        )


class _LimitExceeded(Exception):  # noqa: N818  # control flow: it unwinds to BodyLimit, and no user meets it
    pass


class _CountedReceive:
    """ASGI receive that counts the bytes of a body and raises when they exceed the limit."""

    def __init__(self, receive: Receive, limit_bytes: int) -> None:
        self._receive = receive
        self._limit_bytes = limit_bytes
        self.size_bytes = 0

    async def __call__(self) -> Message:
        message = await self._receive()
        self.size_bytes += len(message.get("body", b""))
        if self.size_bytes > self._limit_bytes:
            raise _LimitExceeded
        return message
