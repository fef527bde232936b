"""HTTP exchanges with a deadline and a bound on the reply, whatever the server sends and however slowly.

requests counts a timeout between two bytes, reads a reply of any length, and unpacks one of any size. Here a timer
shuts the thread's sockets down at the deadline, and replies are unpacked in small pieces that are counted.
"""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any
from weakref import WeakSet

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPResponse, HTTPSConnectionPool, PoolManager
from urllib3.connection import HTTPConnection, HTTPSConnection

REPLY_BYTES = 32 * 1024**2  # as large as the largest request
_PIECE_BYTES = 16 * 1024  # unpacked at a time: gzip makes at most a thousand times as much of it


class TooLongError(Exception):
    """A reply that is larger than allowed."""


class TooLateError(Exception):
    """A reply that is not complete at the deadline."""


class TimedSession(requests.Session):
    """A session for one thread, whose exchanges end at a deadline."""

    def __init__(self) -> None:
        super().__init__()
        self.mount("http://", TrackedAdapter())
        self.mount("https://", TrackedAdapter())

    def exchange(
        self, method: str, url: str, give_up_at: float, limit_bytes: int = REPLY_BYTES, **options: Any
    ) -> requests.Response:
        """Send a request and read the whole reply; redirects are not followed.

        Args:
            give_up_at: time.monotonic() at which sending or reading ends, in seconds.
            limit_bytes: most bytes of the reply, unpacked.
            options: of `requests.Session.request`.

        Raises:
            TooLateError, TooLongError: the reply is not complete in time, or too large.
            requests.RequestException: it cannot be had.
        """
        with _until(give_up_at):
            response = self.request(method, url, stream=True, allow_redirects=False, **options)
            with response:
                response._content = _read(response, limit_bytes)  # what `response.content` gives
                response._content_consumed = True  # type: ignore[attr-defined]
            return response


class TrackedAdapter(HTTPAdapter):
    """Adapter of requests whose sockets a deadline can shut down."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        _track(self.poolmanager)

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(*args, **kwargs)
        _track(manager)
        return manager


def _track(manager: PoolManager) -> None:
    manager.pool_classes_by_scheme = {"http": _TrackedPool, "https": _TrackedSecurePool}


class _Sockets(threading.local):
    """Sockets that this thread opened."""

    def __init__(self) -> None:
        self.opened: WeakSet[socket.socket] = WeakSet()


_SOCKETS = _Sockets()


class _TrackedConnection(HTTPConnection):
    def connect(self) -> None:
        super().connect()
        _SOCKETS.opened.add(self.sock)

    def getresponse(self) -> HTTPResponse:  # type: ignore[override]
        return _undrained(super().getresponse())


class _TrackedSecureConnection(HTTPSConnection):
    def connect(self) -> None:
        super().connect()
        _SOCKETS.opened.add(self.sock)

    def getresponse(self) -> HTTPResponse:  # type: ignore[override]
        return _undrained(super().getresponse())


class _TrackedPool(HTTPConnectionPool):
    ConnectionCls = _TrackedConnection


class _TrackedSecurePool(HTTPSConnectionPool):
    ConnectionCls = _TrackedSecureConnection


def _undrained(response: HTTPResponse) -> HTTPResponse:
    """Have a retry close the connection of a refused request in place of reading the reply, which may never end."""
    response.drain_conn = response.close  # type: ignore[method-assign]
    return response


@contextmanager
def _until(give_up_at: float) -> Iterator[None]:
    """Shut down the sockets of this thread at a deadline.

    Raises:
        TooLateError: the block ended after the deadline; a reply without a length then seems complete.
    """
    sockets = _SOCKETS.opened

    def shut_down() -> None:
        for opened in list(sockets):
            with suppress(OSError):
                socket.socket.shutdown(opened, socket.SHUT_RDWR)  # not TLS' own, which is not for two threads

    timer = threading.Timer(max(0.0, give_up_at - time.monotonic()), shut_down)
    timer.daemon = True
    timer.start()
    try:
        yield
    except (requests.RequestException, OSError) as exc:
        if time.monotonic() < give_up_at:
            raise
        raise TooLateError from exc
    finally:
        timer.cancel()
    if time.monotonic() >= give_up_at:
        raise TooLateError


def _read(response: requests.Response, limit_bytes: int) -> bytes:
    data = bytearray()
    for piece in response.iter_content(_PIECE_BYTES):
        data += piece
        if len(data) > limit_bytes:
            raise TooLongError
    return bytes(data)
