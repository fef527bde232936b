"""One call from the router to a step, and in Go's words what went wrong with it.

The words matter: the step's address in `cause` is all that a client learns about a stage that is down.
"""

import gzip
import logging
import os
import re
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import aiohttp
from yarl import URL

from shardline.wire.limits import MIB

logger = logging.getLogger(__name__)

# Look-around, back-references and atomic groups: RE2, which is Go's, has none of them.
_ONLY_PYTHON = re.compile(r"\(\?(=|!|<=|<!|>|P=|\()|\\[1-9]")
# The rules of one connection; Go's client writes its own, whatever it is given (net/http reqWriteExcludeHeader).
_OF_ONE_HOP = frozenset(
    {"Connection", "Content-Length", "Expect", "Host", "Keep-Alive", "Te", "Trailer", "Transfer-Encoding", "Upgrade"}
)
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")

Headers = list[tuple[str, str]]

IDLE_S = 90  # Go's DefaultTransport.IdleConnTimeout
DIAL_S = 30  # Go's DefaultTransport dialer
BUFFER_BYTES = 4 * MIB  # of a body that has come and is not yet taken; each time it is full, reading stops


class StepError(Exception):
    """No answer for the client but the router's own, with `status` and the message as its cause, in Go's words."""

    def __init__(self, message: str, status: int = 500) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True, kw_only=True)
class StepResponse:
    status: int
    body: bytes

    @property
    def ok(self) -> bool:
        return 200 <= self.status <= 299


class StepClient:
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

    async def post(self, url: str, body: bytes, headers: Headers) -> StepResponse:
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
                return StepResponse(
                    status=response.status, body=gzip.decompress(answer) if zipped and answer else answer
                )
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


def compile_patterns(text: str | None) -> list[re.Pattern[str]]:
    """The value of PROPAGATE_HEADERS -> patterns. Invalid ones are logged and skipped.

    None, the variable unset, is no pattern. The empty text is one empty pattern, which matches every name, as in Go.
    """
    return [pattern for each in (text.split(",") if text is not None else ()) for pattern in _compiled(each)]


def _compiled(text: str) -> list[re.Pattern[str]]:
    try:
        if _ONLY_PYTHON.search(text):
            raise re.error("invalid or unsupported Perl syntax")
        return [re.compile(text)]
    except re.error as exc:
        logger.warning("PROPAGATE_HEADERS: the pattern %r is skipped: %s", text, exc)
        return []


def propagated(headers: Iterable[tuple[bytes, bytes]], patterns: Sequence[re.Pattern[str]]) -> Headers:
    """The headers of a request to a step, Content-Type among them: the client's if it is propagated, else JSON's."""
    named = [(canonical(name.decode("latin-1")), value.decode("latin-1")) for name, value in headers]
    chosen = [
        (name, value)
        for name, value in named
        if name not in _OF_ONE_HOP and any(pattern.search(name) for pattern in patterns)
    ]
    if not next((value for name, value in chosen if name == "Content-Type"), ""):
        chosen.append(("Content-Type", "application/json"))
    return chosen


def canonical(name: str) -> str:
    """'x-request-ID' -> 'X-Request-Id': Go's CanonicalMIMEHeaderKey."""
    return "-".join(part.capitalize() for part in name.split("-")) if _TOKEN.fullmatch(name) else name
