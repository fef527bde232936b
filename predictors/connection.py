"""HTTP/1.1 connections that one client cannot exhaust: bounds on headers, bodies, time and memory, and fast bodies.

**Receiving.** uvicorn appends each piece of a body, of up to 256 KiB, to a buffer and copies it again for the
application, which joins them all; and it stops reading after each 64 KiB until the application asks for more. For a
frame of 3 MB that is some ten megabytes of copying and dozens of wake-ups. `BodyProtocol` copies each piece into its
place in one block and wakes the application once, by the last byte: `scope["state"]["shardline.body"]` is a `Body`.
Receiving into the block past the parser (asyncio.BufferedProtocol) was tried and saved no CPU time. Bodies that are
chunked, over the limit, or waited for with `Expect: 100-continue` are left to uvicorn; their bytes are counted too.

**Bounds.** Headers have a size, a number and a time; a body has a minimum rate; all bodies of a server together have a
number of bytes, and so have its connections. Over one of the common bounds, whoever has been silent for the longest
gives way: its request is answered 503, or its connection closed. So a client that announces bodies and does not send
them, in any number of connections, makes nobody else wait. A body that arrived completely is never given up; if such
bodies alone fill the bound, the newest request is answered 503. docs/limits.md lists the numbers.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from shardline.predictors.model import logged_reply
from shardline.wire.errors import (
    HeadersTooLargeError,
    QueueFullError,
    RequestError,
    RequestTimeoutError,
    ShardlineError,
    TooLargeError,
)
from shardline.wire.limits import BODY_BYTES, HELD_BYTES, MIB, format_bytes

BODY = "shardline.body"

_READ_BYTES = 256 * 1024  # the most that the transport passes at once
_DISCARD_S = 5.0  # how long the rest of a refused body is read and dropped, so that its sender hears the answer


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionLimits:
    """Bounds of a server's connections.

    Attributes:
        body_bytes: largest body.
        held_bytes: all bodies in memory, of all connections together.
        connections: most connections at a time.
        header_bytes: request line and headers of one request.
        headers: number of headers.
        header_s: seconds from the first byte of a request to the end of its headers.
        rate_window_s: seconds over which the rate of a body is measured.
        least_rate: least bytes per second of a body.
        turn_bytes: bytes of all connections that are read before other work of the event loop has its turn.
    """

    body_bytes: int = BODY_BYTES
    held_bytes: int = HELD_BYTES
    connections: int = 1000
    header_bytes: int = 64 * 1024
    headers: int = 100
    header_s: float = 20.0
    rate_window_s: float = 5.0
    least_rate: int = 16 * 1024
    turn_bytes: int = 4 * MIB


class Body:
    """A request's body while it is received: one block of `size_bytes`, never grown, never copied."""

    def __init__(self, size_bytes: int) -> None:
        self._block = np.empty(size_bytes, np.uint8).data  # bytearray would write zeros first
        self._received = 0
        self._complete: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.when_lost: Callable[[], object] | None = None  # called when the client goes away during the answer
        self.is_lost = False

    def add(self, piece: bytes) -> None:
        """Add the next bytes; the parser passes no more than the announced length."""
        end = self._received + len(piece)
        self._block[self._received : end] = piece
        self._received = end
        if end == len(self._block) and not self._complete.done():
            self._complete.set_result(None)

    def lost(self) -> None:
        """Note that the client went away, or that its request was refused, and free the block if it is incomplete."""
        self.is_lost = True
        if not self._complete.done():
            self._block = memoryview(b"")
            self._complete.set_exception(ConnectionResetError("the client went away"))
            self._complete.exception()  # marks it as retrieved, whether or not anybody waits
        elif self.when_lost is not None:
            self.when_lost()

    async def whole(self) -> memoryview:
        """Wait for the complete body.

        Raises:
            ConnectionResetError: the client went away first.
        """
        await self._complete
        return self._block


class OpenConnections:
    """All connections of a server, the most silent one first, and the bytes of the bodies that they hold."""

    def __init__(self, limits: ConnectionLimits, label: str) -> None:
        """`label` names the server in its errors."""
        self.limits = limits
        self.label = label
        self.held_bytes = 0
        self._by_silence: dict[BodyProtocol, None] = {}  # a dict keeps the order of insertion
        self._turn_bytes = 0
        self._paused: deque[BodyProtocol] = deque()  # in the order in which they may read on

    def add(self, connection: "BodyProtocol") -> None:
        """Add a connection; if there are too many, the one that has been silent the longest is closed."""
        if len(self._by_silence) >= self.limits.connections:
            silent = next((other for other in self._by_silence if other.is_idle), connection)
            silent.close()
        if not connection.is_closed:
            self._by_silence[connection] = None

    def heard(self, connection: "BodyProtocol") -> None:
        """Note that bytes arrived on a connection."""
        if connection in self._by_silence:
            self._by_silence[connection] = self._by_silence.pop(connection)

    def remove(self, connection: "BodyProtocol") -> None:
        """Remove a connection that was closed."""
        self._by_silence.pop(connection, None)

    def hold(self, size_bytes: int) -> bool:
        """Count bytes of a body; silent connections give way to them. False, and not counted, if that is not enough."""
        while self.held_bytes + size_bytes > self.limits.held_bytes:
            silent = next((other for other in self._by_silence if other.is_receiving), None)
            if silent is None:
                return False
            silent.give_way()
        self.held_bytes += size_bytes
        return True

    def read(self, connection: "BodyProtocol", size_bytes: int) -> None:
        """Count bytes that a connection received; when a turn has had its bytes, it reads on in a later one.

        libuv reads a connection up to 32 times before it looks at the next one: a hundred clients that send as fast as
        they can would otherwise keep the event loop for a second.
        """
        if not self._turn_bytes:
            asyncio.get_running_loop().call_soon(self._next_turn)
        self._turn_bytes += size_bytes
        if self._turn_bytes > self.limits.turn_bytes and connection.pause_reading():
            self._paused.append(connection)

    def _next_turn(self) -> None:
        self._turn_bytes = 0
        for _ in range(min(len(self._paused), self.limits.turn_bytes // _READ_BYTES)):
            self._paused.popleft().resume_reading()
        if self._paused:
            self._turn_bytes = 1
            asyncio.get_running_loop().call_soon(self._next_turn)


class BodyProtocol(HttpToolsProtocol):
    """uvicorn's HTTP/1.1 protocol for one connection, bounded by the limits of `opened`, which all of them share."""

    def __init__(self, *args: Any, opened: OpenConnections, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._opened = opened
        self._limits = opened.limits
        self._bodies: list[Body] = []  # those of the requests that are not answered yet
        self._body: Body | None = None  # the one that is being received
        self._in_headers = self._in_body = self._refused = self._discarding = False
        self._held_bytes = 0  # of the bodies of this connection
        self._countable_bytes = 0  # of the present body, which will be held if they arrive
        self._unannounced_bytes: int | None = None  # received of the present body, if its length is not announced
        self._header_bytes = self._window_bytes = 0
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_closed(self) -> bool:
        """True once the connection is being closed."""
        return self.transport.is_closing()

    @property
    def is_receiving(self) -> bool:
        """True while a body is incomplete."""
        return self._in_body and not self._refused

    @property
    def is_idle(self) -> bool:
        """True where no request is complete and unanswered."""
        return self.cycle is None or self.cycle.response_complete or self.is_receiving

    def close(self) -> None:
        """Close the connection in favour of another one."""
        self._opened.remove(self)
        self.transport.close()

    def pause_reading(self) -> bool:
        """Stop reading; False where that is stopped already, or the connection is being closed."""
        if self.flow.read_paused or self.is_closed:
            return False
        self.flow.pause_reading()
        return True

    def resume_reading(self) -> None:
        """Read on, unless uvicorn has stopped reading as well: one request waits behind another."""
        if not self.pipeline and not self.is_closed:
            self.flow.resume_reading()

    def give_way(self) -> None:
        """End the incomplete request in favour of another one."""
        self._refuse(
            QueueFullError(
                f"the server holds {format_bytes(self._limits.held_bytes)} of bodies, the most that it may, and this "
                "request was the most silent: send it again"
            )
        )

    # called by the transport

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._opened.add(self)

    def data_received(self, data: bytes) -> None:
        if self._refused and not self._discarding:
            return
        self._opened.heard(self)
        super().data_received(data)
        self._opened.read(self, len(data))
        if self._refused or self.is_closed:
            return
        if self._in_headers:
            self._header_bytes += len(data)
            self._check_header_bytes()
            self._watch(self._limits.header_s, self._headers_late)
        elif self._in_body:
            self._watch(self._limits.rate_window_s, self._check_rate)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_watching()
        for body in self._bodies:
            body.lost()
        self._free()
        self._opened.remove(self)
        super().connection_lost(exc)

    # called by the parser

    def on_message_begin(self) -> None:
        self._in_headers, self._header_bytes = True, 0
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        super().on_header(name, value)
        if len(self.headers) > self._limits.headers:  # the others of this piece are not kept
            self.headers.pop()
            self._refuse(HeadersTooLargeError(f"the request has more than {self._limits.headers} headers: send fewer"))

    def on_headers_complete(self) -> None:
        self._in_headers = False
        self._stop_watching()
        if self._refused or not self._well_formed():
            return
        self._in_body, self._window_bytes = True, 0
        size_bytes = self._announced_bytes()
        self._unannounced_bytes = 0 if size_bytes is None else None
        self._countable_bytes = self._limits.body_bytes if size_bytes is None else size_bytes
        if self._countable_bytes > self._limits.body_bytes:
            self._countable_bytes = 0  # refused, and not kept
        elif size_bytes and not self.expect_100_continue:
            self._body = Body(size_bytes)
            self._bodies.append(self._body)
            self.scope["state"][BODY] = self._body
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._window_bytes += len(body)
        if self._refused or self._is_too_long(len(body)) or not self._hold(len(body)):
            return
        if self._body is None:
            super().on_body(body)
        else:
            self._body.add(body)

    def on_message_complete(self) -> None:
        self._in_body = False
        self._stop_watching()
        self._body = None
        if self._refused:
            if self._discarding:
                self.transport.close()
            return
        if self.cycle is not None and self.cycle.response_complete:  # an answer that did not wait for the body
            self._free()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        if not self.pipeline and not self._in_body:
            self._free()
        super().on_response_complete()
        if self.pipeline and not self.is_closed:  # uvicorn would read more requests before it answers these
            self.flow.pause_reading()

    def _unsupported_upgrade_warning(self) -> None:
        """Log nothing: uvicorn would advise to install WebSockets, once for each such request."""

    # bounds

    def _well_formed(self) -> bool:
        """Check what the parser takes and a proxy may read in another way; refuses the request otherwise."""
        size = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
        self._header_bytes = max(self._header_bytes, size)
        self._check_header_bytes()
        names = [name for name, _ in self.headers]
        encodings = [value for name, value in self.headers if name == b"transfer-encoding"]
        has_body = bool(encodings) or any(
            value.strip(b"0") for name, value in self.headers if name == b"content-length"
        )
        version = self.parser.get_http_version()
        if version not in ("1.0", "1.1"):
            self._refuse(RequestError(f"the request has the HTTP version {version}; allowed are 1.0 and 1.1"))
        elif self.parser.should_upgrade() and has_body:  # the parser would take the body for the next request
            self._refuse(RequestError("a request with a body asks for an upgrade: leave the header Upgrade out"))
        elif encodings and (version == "1.0" or b"".join(encodings).strip().lower() != b"chunked"):
            self._refuse(
                RequestError(
                    "the request has a Transfer-Encoding; allowed is chunked alone, in HTTP/1.1: send Content-Length"
                )
            )
        elif version == "1.1" and names.count(b"host") != 1:
            self._refuse(RequestError(f"the request has {names.count(b'host')} Host headers; allowed is one: send it"))
        return not self._refused

    def _is_too_long(self, size_bytes: int) -> bool:
        """Count the bytes of a body of unknown length; refuses it at once where it is over the limit."""
        if self._unannounced_bytes is None:
            return False
        self._unannounced_bytes += size_bytes
        if self._unannounced_bytes <= self._limits.body_bytes:
            return False
        found, most = self._unannounced_bytes, self._limits.body_bytes
        self._refuse(
            TooLargeError(
                f"the body has at least {found} bytes, at most {most} ({format_bytes(most)}) are read: send a smaller "
                "picture or fewer instances"
            )
        )
        return True

    def _check_header_bytes(self) -> None:
        allowed = self._limits.header_bytes
        if self._header_bytes > allowed and not self._refused:
            self._refuse(
                HeadersTooLargeError(
                    f"the request line and headers have at least {self._header_bytes} bytes; allowed are {allowed}: "
                    "send fewer or shorter headers"
                )
            )

    def _hold(self, size_bytes: int) -> bool:
        counted = min(size_bytes, self._countable_bytes)
        if not self._opened.hold(counted):
            self.give_way()
            return False
        if self._refused:  # it was the most silent one itself
            self._opened.held_bytes -= counted
            return False
        self._countable_bytes -= counted
        self._held_bytes += counted
        return True

    def _free(self) -> None:
        self._opened.held_bytes -= self._held_bytes
        self._held_bytes = 0
        self._bodies.clear()

    def _headers_late(self) -> None:
        seconds = self._limits.header_s
        self._refuse(RequestTimeoutError(f"the headers took longer than {seconds:g} s: send them at once"))

    def _check_rate(self) -> None:
        """Refuse a body that came too slowly since the last check, unless this server stopped reading it."""
        self._timer = None
        limits = self._limits
        if self._window_bytes < limits.least_rate * limits.rate_window_s and not self.flow.read_paused:
            self._refuse(
                RequestTimeoutError(
                    f"the body came with {self._window_bytes / limits.rate_window_s / 1024:.1f} KiB/s for "
                    f"{limits.rate_window_s:g} s; at least {limits.least_rate // 1024} KiB/s are needed: send it again"
                )
            )
            return
        self._window_bytes = 0
        self._watch(limits.rate_window_s, self._check_rate)

    def _watch(self, seconds: float, then: Callable[[], None]) -> None:
        if self._timer is None:
            self._timer = self.loop.call_later(seconds, then)

    def _stop_watching(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _refuse(self, error: ShardlineError) -> None:
        """Answer the request that is being received with an error, and close; the rest of its body is dropped.

        Where an earlier request of the connection is not answered yet, or this one's response has begun, there is no
        place for the error: the connection is closed behind that response.
        """
        if self._refused:
            return
        self._refused = True
        error.args = (f"{self._opened.label}: {error}",)
        self._stop_watching()
        if self._is_answering():
            self.cycle.keep_alive = False
            if self._in_body or self.pipeline:
                self.transport.close()
            return
        if self._body is not None:
            self._body.lost()
        self._free()
        if self._in_body:
            self._discarding = True
            self.cycle.disconnected = True  # nothing more is sent for it
            self._timer = self.loop.call_later(_DISCARD_S, self.transport.close)
        self.transport.write(_response(error))
        if not self._in_body:
            self.transport.close()

    def _is_answering(self) -> bool:
        """True where an earlier request is unanswered, or the response to this one has begun."""
        if self._in_body:
            return bool(self.pipeline) or self.cycle.response_started
        return self.cycle is not None and not self.cycle.response_complete

    def _announced_bytes(self) -> int | None:
        """Announced length of the body; None where only its end says it."""
        if any(name == b"transfer-encoding" for name, _ in self.headers):
            return None
        return next((int(value) for name, value in self.headers if name == b"content-length"), 0)


def _response(error: ShardlineError) -> bytes:
    """The bytes of an error's response, which ends the connection."""
    reply = logged_reply(error)
    headers = [*reply.raw_headers, (b"connection", b"close")]
    lines = b"".join(name + b": " + value + b"\r\n" for name, value in headers)
    return STATUS_LINE[reply.status_code] + lines + b"\r\n" + bytes(reply.body)
