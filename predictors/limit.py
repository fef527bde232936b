"""Bodies over the limit are refused without being kept."""

import asyncio

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shardline.predictors.replies import error_reply
from shardline.wire.errors import TooLargeError
from shardline.wire.limits import format_bytes

_DISCARD_FACTOR = 8  # of the limit: how much of a too large body is read away so that its sender hears the answer
_DISCARD_SECONDS = 10.0


class BodyLimit:
    """ASGI middleware: a body over `limit_bytes` is answered 413, its bytes read away and never kept."""

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
                await self._discard(receive)
            await self._refuse(f"{declared} bytes")(scope, receive, send)
            return
        counted = _Counted(receive, self._limit_bytes)
        try:
            await self._app(scope, counted, send)
        except _Exceeded:
            await self._discard(receive)
            await self._refuse(f"at least {counted.size_bytes} bytes")(scope, receive, send)

    async def _discard(self, receive: Receive) -> None:
        left = self._limit_bytes * _DISCARD_FACTOR
        try:
            async with asyncio.timeout(_DISCARD_SECONDS):
                while left > 0:
                    message = await receive()
                    left -= len(message.get("body", b""))
                    if not message.get("more_body"):
                        return
        except TimeoutError:
            return

    def _refuse(self, size: str) -> Response:
        return error_reply(
            TooLargeError(
                f"{self._label}: the body has {size}, at most {self._limit_bytes} ({format_bytes(self._limit_bytes)}) "
                "are read: send a smaller picture or fewer instances"
            )
        )


class _Exceeded(Exception):  # noqa: N818  # not an error of the user's: it only unwinds to BodyLimit
    pass


class _Counted:
    """Counts the bytes of a body as they come, and breaks off behind the limit."""

    def __init__(self, receive: Receive, limit_bytes: int) -> None:
        self._receive = receive
        self._limit_bytes = limit_bytes
        self.size_bytes = 0

    async def __call__(self) -> Message:
        message = await self._receive()
        self.size_bytes += len(message.get("body", b""))
        if self.size_bytes > self._limit_bytes:
            raise _Exceeded
        return message
