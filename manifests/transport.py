"""HTTP calls from the router to a step: propagated headers, the request, and failures in Go's words.

The words matter, since the step's address in `cause` is all that a client learns about a stage that is down.

Headers of the client are propagated as KServe's `PROPAGATE_HEADERS` says (cmd/router/main.go callService): Go regular
expressions, separated by commas, that match anywhere in a header's canonical name (`X-Request-Id`). A pattern that only
Python understands is skipped, as Go skips it.
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

# look-around, back-references and atomic groups, which Go's RE2 does not support
_ONLY_PYTHON = re.compile(r"\(\?(=|!|<=|<!|>|P=|\()|\\[1-9]")
# headers of one connection; Go's client always writes its own (net/http reqWriteExcludeHeader)
_HOP_BY_HOP = frozenset(
    {"Connection", "Content-Length", "Expect", "Host", "Keep-Alive", "Te", "Trailer", "Transfer-Encoding", "Upgrade"}
)
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")

Headers = list[tuple[str, str]]

IDLE_S = 90  # Go's DefaultTransport.IdleConnTimeout
DIAL_S = 30  # Go's DefaultTransport dialer
BUFFER_BYTES = 4 * MIB  # of a received body before reading pauses


class StepError(Exception):
    """Failure of a step, which the router turns into its own response: `status`, and the message in Go's words."""

    def __init__(self, message: str, status: int = 500) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True, kw_only=True)
class StepResponse:
    """Status and body of a step's response."""

    status: int
    body: bytes

    @property
    def ok(self) -> bool:
        """True for a status of 200 to 299."""
        return 200 <= self.status <= 299


class StepClient:
    """HTTP client that behaves as Go's http.Client: any number of connections, redirects, gzip."""

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
        """Send a request to a step.

        Raises:
            StepError: the step cannot be reached, is too slow, or stops in the middle of its response.
        """
        own_encoding = not any(name == "Accept-Encoding" for name, _ in headers)
        responding = False
        try:
            request_headers = [*headers, *([("Accept-Encoding", "gzip")] if own_encoding else [])]
            async with self._session.post(URL(url, encoded=True), data=body, headers=request_headers) as response:
                responding = True
                reply = await response.read()
                zipped = own_encoding and response.headers.get("Content-Encoding", "").lower() == "gzip"
                return StepResponse(status=response.status, body=gzip.decompress(reply) if zipped and reply else reply)
        except (aiohttp.ClientError, OSError, ValueError, EOFError, zlib.error) as exc:
            raise StepError(_while_reading(exc) if responding else f'Post "{url}": {_before_response(exc)}') from exc


def _while_reading(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "context deadline exceeded (Client.Timeout or context cancellation while reading body)"
    return "unexpected EOF" if isinstance(error, aiohttp.ClientPayloadError) else _text(error)


def _before_response(error: Exception) -> str:
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
    """Compile the value of PROPAGATE_HEADERS; invalid patterns are logged and skipped.

    None, the unset variable, gives no pattern. Empty text gives one empty pattern, which matches every name, as in Go.
    """
    return [pattern for part in (text.split(",") if text is not None else ()) for pattern in _compiled(part)]


def _compiled(text: str) -> list[re.Pattern[str]]:
    try:
        if _ONLY_PYTHON.search(text):
            raise re.error("invalid or unsupported Perl syntax")
        return [re.compile(text)]
    except re.error as exc:
        logger.warning("PROPAGATE_HEADERS: the pattern %r is skipped: %s", text, exc)
        return []


def propagated(headers: Iterable[tuple[bytes, bytes]], patterns: Sequence[re.Pattern[str]]) -> Headers:
    """Choose the headers of a request to a step; Content-Type is the client's if it is propagated, else JSON's."""
    named = [(canonical(name.decode("latin-1")), value.decode("latin-1")) for name, value in headers]
    chosen = [
        (name, value)
        for name, value in named
        if name not in _HOP_BY_HOP and any(pattern.search(name) for pattern in patterns)
    ]
    if not next((value for name, value in chosen if name == "Content-Type"), ""):
        chosen.append(("Content-Type", "application/json"))
    return chosen


def canonical(name: str) -> str:
    """Write a header's name as Go's CanonicalMIMEHeaderKey does: 'x-request-ID' -> 'X-Request-Id'."""
    return "-".join(part.capitalize() for part in name.split("-")) if _TOKEN.fullmatch(name) else name
