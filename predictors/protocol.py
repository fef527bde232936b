"""HTTP/1.1 as uvicorn speaks it, but a body whose length is announced is gathered in one block.

uvicorn appends each piece of a body, of up to 256 KB, to a buffer and copies it again for the application, which joins
them all; and it stops reading after each 64 KB until the application asks for more. For a frame of 3 MB that is some
ten megabytes of copying and dozens of wake-ups. Here each piece is copied into its place and the application is woken
once, by the last byte: scope["state"]["shardline.body"] is a Body.

Receiving into the block past the parser (asyncio.BufferedProtocol) was tried: no CPU time was saved.

Bodies that are chunked, over the limit, or waited for with `Expect: 100-continue` take uvicorn's own way.
"""

import asyncio
from typing import Any

import numpy as np
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

BODY = "shardline.body"


class Body:
    """A request's body while it comes in: one block of `size_bytes`, never grown, never copied."""

    def __init__(self, size_bytes: int) -> None:
        self._block = np.empty(size_bytes, np.uint8).data  # bytearray would write zeros first
        self._come = 0
        self._complete: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def add(self, piece: bytes) -> None:
        """The next bytes; the parser gives no more than were announced."""
        end = self._come + len(piece)
        self._block[self._come : end] = piece
        self._come = end
        if end == len(self._block) and not self._complete.done():
            self._complete.set_result(None)

    def lost(self) -> None:
        """Its sender went away."""
        if not self._complete.done():
            self._complete.set_exception(ConnectionResetError("the client went away"))
            self._complete.exception()  # whether or not anybody waits

    async def whole(self) -> memoryview:
        """All of it.

        Raises:
            ConnectionResetError: the client went away first.
        """
        await self._complete
        return self._block


class BodyProtocol(HttpToolsProtocol):
    """One connection. `limit_bytes` bounds what is kept for a body that is only announced."""

    def __init__(self, *args: Any, limit_bytes: int, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._limit_bytes = limit_bytes
        self._body: Body | None = None

    def on_headers_complete(self) -> None:
        size_bytes = self._announced_bytes()
        if size_bytes:
            self._body = Body(size_bytes)
            self.scope["state"][BODY] = self._body
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        if self._body is None:
            super().on_body(body)
        else:
            self._body.add(body)

    def on_message_complete(self) -> None:
        self._body = None
        super().on_message_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._body is not None:
            self._body.lost()
        super().connection_lost(exc)

    def _announced_bytes(self) -> int:
        """Of a body that goes into one block; 0 for all others."""
        if self.expect_100_continue or self.parser.should_upgrade():
            return 0
        lengths = [value for name, value in self.headers if name == b"content-length"]
        chunked = any(name == b"transfer-encoding" for name, _ in self.headers)
        if chunked or len(lengths) != 1 or not lengths[0].isdigit():
            return 0
        size_bytes = int(lengths[0])
        return size_bytes if size_bytes <= self._limit_bytes else 0
