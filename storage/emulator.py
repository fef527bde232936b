"""Emulator of Google Cloud Storage's HTTP API on this machine, for a demo, tests and a cluster without internet access.

gcp-storage-emulator handles all requests on one thread, so a client that sends or reads nothing would block all others,
and it writes its files in place, so that a kill leaves half of one. Here each connection has a thread, only whole
requests wait for each other, and files are replaced. There is no access control: whoever reaches the port reads and
writes, except pages in a browser, which are refused.
"""

import io
import logging
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

from gcp_storage_emulator.handlers.buckets import create_bucket
from gcp_storage_emulator.server import RequestHandler, Router
from gcp_storage_emulator.storage import Storage

from shardline.wire.errors import StorageError

IDLE_S = 60.0  # a connection on which nothing arrives for this time is closed


def serve(folder: Path, buckets: Sequence[str], *, host: str, port: int, on_ready: Callable[[str], object]) -> None:
    """Serve buckets until Ctrl-C or SIGTERM; call it in the main thread, which alone receives signals.

    Args:
        folder: the objects are kept here.
        buckets: names of the buckets to make, if they do not exist.
        host: address to listen on.
        port: port to listen on; 0 takes a free one.
        on_ready: is called with the URL.

    Raises:
        StorageError: the port cannot be opened, or the folder cannot be read or written.
    """
    logging.getLogger("gcp_storage_emulator").setLevel(logging.CRITICAL + 1)
    storage = _open(folder, buckets)
    try:
        server = _EmulatorServer((host, port), partial(_Handler, storage))
    except (OSError, OverflowError) as exc:
        raise StorageError(f"{host}:{port} cannot be opened ({exc}): choose another --host or --port") from exc
    with server, _until_signalled():
        on_ready(f"http://{host}:{server.server_port}")
        server.serve_forever()
    with _Handler.turn:  # a request that is being written ends first: half a file could not be read again
        return


def _open(folder: Path, buckets: Sequence[str]) -> Any:
    try:
        storage = _Storage(data_dir=str(folder.resolve()))
        for bucket in buckets:
            create_bucket(bucket, storage)
    except (OSError, ValueError) as exc:
        raise StorageError(f"{folder} is not a folder of the emulator ({exc}): choose another --folder") from exc
    return storage


class _Storage(Storage):  # type: ignore[misc]  # the emulator ships no types
    def __init__(self, *, data_dir: str) -> None:
        super().__init__(data_dir=data_dir)
        self._store.write_bytes = partial(_replace_file, self._store)

    def create_file(self, bucket: str, name: str, content: bytes, described: dict[str, Any], *rest: Any) -> None:
        """Store an object without its media link, so that clients download where they list.

        The link would name the host and port through which the object was written, which may be gone, or unreachable
        for this client.
        """
        described.pop("mediaLink", None)
        super().create_file(bucket, name, content, described, *rest)


def _replace_file(store: Any, name: str, content: bytes) -> None:
    """Write a file of the emulator's folder in one step."""
    path = store._disk_path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial_file = store._disk_path(".partial")  # one is enough: writers take turns
    partial_file.write_bytes(content)
    partial_file.replace(path)


def _in_turn(method: str) -> Callable[[Any], None]:
    """Handle a request in turn with all others, from its whole body to its whole reply in memory."""

    def handle(self: Any) -> None:
        if self.path.startswith("/wipe") or self.headers.get("Origin"):
            self.send_error(403, "the emulator takes no requests of web pages, and deletes only single objects")
            return
        self.rfile = io.BytesIO(_whole_body(self))
        self.wfile, connection = io.BytesIO(), self.wfile
        with self.turn:
            try:
                Router(self).handle(method)
            except OSError as exc:  # of the folder: the request is in memory
                self.wfile = connection
                self.send_error(507, f"the emulator's folder cannot be read or written: {exc.strerror}")
                return
        connection.write(self.wfile.getvalue())

    return handle


def _whole_body(handler: Any) -> bytes:
    """Read a request's body, and make it one of known length."""
    if "Transfer-Encoding" not in handler.headers:
        received: bytes = handler.rfile.read(int(handler.headers.get("Content-Length", 0)))
        return received
    body = b""
    while (size := int(handler.rfile.readline().partition(b";")[0] or b"0", 16)) > 0:
        body += handler.rfile.read(size)
        handler.rfile.readline()
    del handler.headers["Transfer-Encoding"]
    handler.headers["Content-Length"] = str(len(body))
    return body


class _Handler(RequestHandler):  # type: ignore[misc]  # the emulator ships no types
    timeout = IDLE_S
    turn = threading.Lock()  # the emulator's storage is not thread-safe
    do_DELETE = _in_turn("DELETE")  # noqa: N815 - the names that http.server calls
    do_GET = _in_turn("GET")  # noqa: N815
    do_PATCH = _in_turn("PATCH")  # noqa: N815
    do_POST = _in_turn("POST")  # noqa: N815
    do_PUT = _in_turn("PUT")  # noqa: N815


class _EmulatorServer(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: Any) -> None:
        """Report errors on stderr, except clients that disconnect."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            print(f"emulator: {sys.exception()!r}", file=sys.stderr)


@contextmanager
def _until_signalled() -> Iterator[None]:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    except KeyboardInterrupt:
        pass
    finally:
        signal.signal(signal.SIGTERM, before)
