"""A bucket on this machine: Google Cloud Storage's API over HTTP, for a demo, tests and a cluster without internet.

gcp-storage-emulator answers one request after the other on one thread, so that a client which connects and says
nothing would hold up all others. Here each connection has a thread, and only whole requests wait for each other.

There is no access control: whoever reaches the port reads and writes.
"""

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

IDLE_S = 60.0  # a connection that says nothing for so long is closed


def serve(folder: Path, buckets: Sequence[str], *, host: str, port: int, on_ready: Callable[[str], object]) -> None:
    """Serve `buckets`, kept in `folder`, until Ctrl-C or SIGTERM; `on_ready` gets the URL. Port 0 takes a free one.

    To be called in the main thread, which alone gets signals.

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
    with _Handler.turn:  # a request that is being written ends first: half a file would not be read again
        return


def _open(folder: Path, buckets: Sequence[str]) -> Any:
    try:
        storage = _Storage(data_dir=str(folder.resolve()))
        for bucket in buckets:
            create_bucket(bucket, storage)
    except (OSError, ValueError) as exc:
        raise StorageError(f"{folder} is no folder of an emulator's ({exc}): choose another --folder") from exc
    return storage


class _Storage(Storage):  # type: ignore[misc]  # the emulator ships no types
    def create_file(self, bucket: str, name: str, content: bytes, described: dict[str, Any], *rest: Any) -> None:
        """Without a link, clients download where they list. With one they would go to the host and port that the object
        was once written through, which may not be there any more, or not for them."""
        described.pop("mediaLink", None)
        super().create_file(bucket, name, content, described, *rest)


def _in_turn(method: str) -> Callable[[Any], None]:
    def handle(self: Any) -> None:
        with self.turn:
            Router(self).handle(method)

    return handle


class _Handler(RequestHandler):  # type: ignore[misc]  # likewise
    timeout = IDLE_S
    turn = threading.Lock()  # the storage is not made for threads
    do_DELETE = _in_turn("DELETE")  # noqa: N815 - the names that http.server calls
    do_GET = _in_turn("GET")  # noqa: N815
    do_PATCH = _in_turn("PATCH")  # noqa: N815
    do_POST = _in_turn("POST")  # noqa: N815
    do_PUT = _in_turn("PUT")  # noqa: N815


class _EmulatorServer(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: Any) -> None:
        """Clients that go away are no news; what else goes wrong is told."""
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
