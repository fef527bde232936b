"""HTTP/1.1 as uvicorn speaks it, but bodies go from the socket straight into their place.

uvicorn takes a body in pieces of up to 256 KB: each is copied out of the parser, appended to a buffer, and copied again
for the application, which joins them; and it stops reading after each 64 KB until the application asks for more. For a
frame of 3 MB that is some ten megabytes of copying and dozens of wake-ups.

Here the parser sees the head of a request and what came in the same piece. If the head says how long the body is, the
rest is received into one block of that size, past the parser, and the application is woken once:

    head, begin of the body  ─▶ parser ─▶ scope["state"]["shardline.body"] is a Body
    the rest of the body     ─▶ Body's own block
    the last byte            ─▶ Body is complete; the next request gets a new parser, if this one has not seen it all

Bodies that are chunked, over the limit, or waited for with `Expect: 100-continue` take uvicorn's own way.
"""

import asyncio
from typing import Any

import httptools
import numpy as np
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

BODY = "shardline.body"

_HEAD_BYTES = 64 * 1024  # the most in one piece that the parser sees; heads are far smaller


class Body:
    """A request's body while it comes in: one block of `size_bytes`, never grown, never copied."""

    def __init__(self, size_bytes: int) -> None:
        self._block = np.empty(size_bytes, np.uint8).data  # bytearray would write zeros first
        self._come = 0
        self._complete: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def room(self) -> memoryview:
        """Where the next bytes belong; empty once all have come."""
        return self._block[self._come :]

    def received(self, size_bytes: int) -> None:
        """So many bytes were written into `room`."""
        self._come += size_bytes
        if self._come == len(self._block) and not self._complete.done():
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


class BodyProtocol(HttpToolsProtocol, asyncio.BufferedProtocol):
    """One connection. `limit_bytes` bounds what is kept for a body that is only announced."""

    def __init__(self, *args: Any, limit_bytes: int, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._limit_bytes = limit_bytes
        self._heads = memoryview(bytearray(_HEAD_BYTES))
        self._body: Body | None = None

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002  # asyncio's signature
        return self._heads if self._body is None else self._body.room

    def buffer_updated(self, nbytes: int) -> None:
        if self._body is None:
            self.data_received(self._heads[:nbytes])  # type: ignore[arg-type]  # the parser takes any buffer
            return
        self._body.received(nbytes)
        if not self._body.room:
            self.on_message_complete()
            self.parser = httptools.HttpRequestParser(self)

    def on_headers_complete(self) -> None:
        size_bytes = self._announced_bytes()
        if size_bytes:
            self._body = Body(size_bytes)
            self.scope["state"][BODY] = self._body
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        if self._body is None:
            super().on_body(body)
            return
        self._body.room[: len(body)] = body
        self._body.received(len(body))

    def on_message_complete(self) -> None:
        self._body = None  # also where the parser saw all of it: the next request may have a small one
        super().on_message_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._body is not None:
            self._body.lost()
        super().connection_lost(exc)

    def _announced_bytes(self) -> int:
        """Of a body that is received past the parser; 0 for all others."""
        if self.expect_100_continue or self.parser.should_upgrade():
            return 0
        lengths = [value for name, value in self.headers if name == b"content-length"]
        chunked = any(name == b"transfer-encoding" for name, _ in self.headers)
        if chunked or len(lengths) != 1 or not lengths[0].isdigit():
            return 0
        size_bytes = int(lengths[0])
        return size_bytes if size_bytes <= self._limit_bytes else 0
