"""One call from the router to a step, and in Go's words what went wrong with it.

The words matter: the step's address in `cause` is all that a client learns about a stage that is down.
"""

import gzip
import os
import zlib
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import aiohttp
from yarl import URL

from shardline.manifests.headers import Headers
from shardline.wire.limits import MIB

IDLE_S = 90  # Go's DefaultTransport.IdleConnTimeout
DIAL_S = 30  # Go's DefaultTransport dialer
BUFFER_BYTES = 4 * MIB  # of a body that has come and is not yet taken; each time it is full, reading stops


class StepError(Exception):
    """No answer for the client but the router's own, with `status` and the message as its cause, in Go's words."""

    def __init__(self, message: str, status: int = 500) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    status: int
    body: bytes

    @property
    def ok(self) -> bool:
        return 200 <= self.status <= 299


class Client:
    """Go's http.Client, as far as a step can tell: any number of connections, redirects followed, gzip understood."""

    def __init__(self, timeout_s: float | None) -> None:
        self._timeout = aiohttp.ClientTimeout(total=timeout_s, sock_connect=DIAL_S)
        self._session: aiohttp.ClientSession

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=IDLE_S),
            timeout=self._timeout,
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=("Accept", "Accept-Encoding"),
            read_bufsize=BUFFER_BYTES,
            max_line_size=MIB,
            max_field_size=MIB,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def post(self, url: str, body: bytes, headers: Headers) -> Answer:
        """
        Raises:
            StepError: the step cannot be reached, is too slow, or stops in the middle of its answer.
        """
        own_encoding = not any(name == "Accept-Encoding" for name, _ in headers)
        answering = False
        try:
            asked = [*headers, *([("Accept-Encoding", "gzip")] if own_encoding else [])]
            async with self._session.post(URL(url, encoded=True), data=body, headers=asked) as response:
                answering = True
                answer = await response.read()
                zipped = own_encoding and response.headers.get("Content-Encoding", "").lower() == "gzip"
                return Answer(status=response.status, body=gzip.decompress(answer) if zipped and answer else answer)
        except (aiohttp.ClientError, OSError, ValueError, EOFError, zlib.error) as exc:
            raise StepError(_while_reading(exc) if answering else f'Post "{url}": {_before_answer(exc)}') from exc


def _while_reading(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "context deadline exceeded (Client.Timeout or context cancellation while reading body)"
    return "unexpected EOF" if isinstance(error, aiohttp.ClientPayloadError) else _text(error)


def _before_answer(error: Exception) -> str:
    match error:
        case aiohttp.ClientConnectorDNSError():
            return f"dial tcp: lookup {error.host}: no such host"
        case aiohttp.ClientConnectorError():
            return f"dial tcp {error.host}:{error.port}: connect: {_text(error.os_error)}"
        case aiohttp.ConnectionTimeoutError():
            return "dial tcp: i/o timeout"
        case TimeoutError():
            return "context deadline exceeded (Client.Timeout exceeded while awaiting headers)"
        case aiohttp.ServerDisconnectedError():
            return "EOF"
        case aiohttp.ClientOSError():
            return f"read tcp: read: {_text(error)}"
        case aiohttp.TooManyRedirects():
            return "stopped after 10 redirects"
        case _:
            return _text(error)


def _text(error: Exception) -> str:
    number = getattr(error, "errno", None)
    return os.strerror(number).lower() if number else str(error) or type(error).__name__
