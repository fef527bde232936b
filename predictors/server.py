"""KServe's ModelServer as Shardline's servers need it: raw bodies, JSON errors, limits, draining and a fast path.

KServe decodes a body by its Content-Type, and its router labels every body `application/json` and drops headers. So
here a body reaches the model as the bytes that were sent, and the model recognises them by their first bytes. Bodies
over the hard limit are refused without being buffered. Every exception becomes a JSON reply: one that KServe does not
map makes uvicorn close the connection, and the router's next request on it fails. Requests cannot load or unload the
model, which KServe's server allows to everyone who reaches its port. And predict requests bypass KServe's routes:

    socket ─▶ BodyProtocol (connection.py) ─▶ PredictEndpoint (endpoint.py) ─▶ the model        uvloop, one event loop
                                           └▶ KServe's routes: everything else
"""

import ctypes
import logging
import os
import socket
import sys
import warnings
from argparse import ArgumentParser, Namespace
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, NoReturn

from fastapi import FastAPI, Request, Response
from kserve import ModelServer
from kserve.constants.constants import FASTAPI_APP_IMPORT_STRING
from kserve.errors import (
    InferenceError,
    InvalidInput,
    ModelNotFound,
    ModelNotReady,
    ServerNotReady,
    UnsupportedProtocol,
)
from kserve.logging import logger as kserve_logger
from kserve.model_server import app
from kserve.model_server import parser as kserve_parser
from kserve.protocol.dataplane import DataPlane
from kserve.protocol.rest.server import RESTServer

from shardline.predictors.connection import BodyProtocol, ConnectionLimits, OpenConnections
from shardline.predictors.endpoint import PredictEndpoint
from shardline.predictors.middleware import BodyLimit, CloseConnections, Drain
from shardline.predictors.model import BytesModel, logged_reply
from shardline.wire.errors import ForbiddenError, ShardlineError
from shardline.wire.limits import BODY_BYTES, HELD_BYTES, MIB
from shardline.wire.text import printable

_KEEP_ALIVE_SECONDS = 120  # longer than the 90 s that KServe's router keeps idle connections
_PER_REQUEST_LOGS = ("uvicorn.access", "kserve.trace")
_REFUSALS = (InferenceError, InvalidInput, ModelNotFound, ModelNotReady, ServerNotReady, UnsupportedProtocol)
_LOGGED_CHARACTERS = 200

# memory settings of glibc (malloc.h); other C libraries have no mallopt, or know none of these and report failure
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
_KEPT_BLOCK_BYTES = 32 * MIB  # glibc's maximum
_KEPT_HEAP_BYTES = 256 * MIB
_ARENAS = 2


class BytesDataPlane(DataPlane):  # type: ignore[misc]  # kserve ships no types
    """KServe's data plane, which passes v1 bodies on as they were sent."""

    def decode(self, body: Any, headers: Any, *args: Any, **kwargs: Any) -> tuple[Any, dict[str, Any]]:
        if isinstance(body, bytes) and not args and not kwargs:
            return body, {}
        result: tuple[Any, dict[str, Any]] = super().decode(body, headers, *args, **kwargs)
        return result


class _OneModelServer(ModelServer):  # type: ignore[misc]  # kserve ships no types
    """KServe's server for one model, with the fast path in front of its routes, on uvloop.

    KServe takes asyncio's default event loop, whatever its --event-loop says, and does not give access to uvicorn's
    settings. So `start` is reimplemented, for one worker and without gRPC, which would allow to load and unload models,
    too, and serves no protocol that our models speak.
    """

    def __init__(self, model: BytesModel, drain: Drain, arguments: Namespace) -> None:
        super().__init__(
            workers=1,
            enable_grpc=False,
            timeout_keep_alive=max(arguments.timeout_keep_alive, _KEEP_ALIVE_SECONDS),
        )
        self.dataplane = BytesDataPlane(model_registry=self.registered_models)
        self._host = arguments.host
        self._fd: int | None = arguments.fd
        self._endpoint = PredictEndpoint(app, model, drain)
        self._label = model.label
        self._limits = ConnectionLimits(body_bytes=arguments.max_body_bytes, held_bytes=arguments.max_held_bytes)

    def start(self, models: list[BytesModel]) -> None:
        self._register_and_check_atleast_one_model_is_ready(models)
        self._rest_server = RESTServer(
            FASTAPI_APP_IMPORT_STRING,
            self.dataplane,
            self.model_repository_extension,
            self.http_port,
            grace_period=self.grace_period,
            timeout_keep_alive=self.timeout_keep_alive,
            ssl_certfile=self.ssl_certfile,
            ssl_keyfile=self.ssl_keyfile,
        )
        config = self._rest_server.config  # uvicorn's; read when the server starts
        config.host = self._host
        config.app = self._endpoint
        config.http = partial(BodyProtocol, opened=OpenConnections(self._limits, self._label))
        config.ws = "none"  # a WebSocket would leave the bounds of its connection
        config.proxy_headers = False  # the client's address is not used
        for name in _PER_REQUEST_LOGS:
            logging.getLogger(name).disabled = True
        self.register_signal_handler()
        config.loop = "uvloop"
        self._rest_server.run(None if self._fd is None else [socket.socket(fileno=self._fd)])


async def _reply_to_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, ShardlineError)
    return logged_reply(error)


def arguments(description: str) -> ArgumentParser:
    """Parser with KServe's own arguments and those of every Shardline server."""
    parser = ArgumentParser(description=description, parents=[kserve_parser])
    parser.add_argument("--host", default="0.0.0.0", help="address to listen on (default: %(default)s, all of a pod's)")
    fd_help = "descriptor of a listening socket to use in place of --host and --http_port (default: none)"
    parser.add_argument("--fd", type=int, help=fd_help)
    parser.add_argument("--bundle_digest", help="digest of the bundle (sha256:…); frames of other bundles are refused")
    parser.add_argument(
        "--max_queue",
        type=int,
        default=32,
        help="number of requests that may wait; more get a 503 (default: %(default)s)",
    )
    parser.add_argument(
        "--max_body_bytes",
        type=int,
        default=BODY_BYTES,
        help="largest body in bytes; a larger one gets a 413 (default: %(default)s)",
    )
    held_help = "bytes of all bodies in memory together; over it, silent requests get a 503 (default: %(default)s)"
    parser.add_argument("--max_held_bytes", type=int, default=HELD_BYTES, help=held_help)
    drain_help = "seconds to keep answering after SIGTERM, with Connection: close (default: 0)"
    parser.add_argument("--drain_seconds", type=float, default=0, help=drain_help)
    return parser


def serve(model: BytesModel, arguments: Namespace) -> None:
    """Serve one loaded model until SIGTERM; then drain, finish the running requests and refuse new connections."""
    drain = Drain(arguments.drain_seconds)
    warnings.filterwarnings("ignore", message="ORJSONResponse is deprecated")  # KServe's own use of FastAPI
    app.add_exception_handler(ShardlineError, _reply_to_error)
    _forbid_repository(app, model.label)
    kserve_logger.addFilter(_shorten_refusal)
    app.add_middleware(BodyLimit, label=model.label, limit_bytes=arguments.max_body_bytes)
    app.add_middleware(CloseConnections, drain=drain)
    app.router.lifespan_context = lambda _: _closing(model, drain)
    _OneModelServer(model, drain, arguments).start([model])


def _shorten_refusal(record: logging.LogRecord) -> bool:
    """Log a request that KServe's routes refuse in one line; other exceptions keep their traceback."""
    error = record.exc_info[1] if record.exc_info else None
    if isinstance(error, _REFUSALS):
        record.msg = f"{type(error).__name__}: {printable(str(error))[:_LOGGED_CHARACTERS]}"
        record.args, record.exc_info = None, None
    return True


def _forbid_repository(app: FastAPI, label: str) -> None:
    """Put a refusal in front of KServe's load and unload routes, which need no credentials: the first match answers."""

    async def refuse() -> NoReturn:
        raise ForbiddenError(f"{label}: no request loads or unloads a model: to change it apply another manifest")

    app.add_api_route("/v2/repository/{path:path}", refuse, methods=["GET", "POST"], response_model=None)


@asynccontextmanager
async def _closing(model: BytesModel, drain: Drain) -> AsyncIterator[None]:
    with drain.on_sigterm():
        yield
    await model.close()


def run_main(main: Callable[[], None]) -> NoReturn:
    """Run a server's main; an error of the user ends the process with one line and exit code 1, before any port opens.

    The process ends without the interpreter's clean-up: with torch loaded that takes seconds of CPU time, which a pod
    that has to stop does not have.
    """
    code = 0
    keep_freed_memory()
    try:
        main()
    except ShardlineError as exc:
        print(f"error: {printable(str(exc))}", file=sys.stderr)
        code = 1
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def keep_freed_memory() -> None:
    """Set glibc's allocator to keep freed memory, before any thread is started; other C libraries are left alone.

    By default glibc gives every block over 128 KiB pages of its own and returns them at once, and trims the heap
    whenever its end is free: each frame then faults in some 800 new pages, which costs more than the work on them. With
    higher thresholds freed blocks stay in the process and are used again, so that its memory is that of its busiest
    moment. Few arenas keep that moment small: each has freed blocks of its own, and threads take turns at them.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return
    mallopt(_M_MMAP_THRESHOLD, _KEPT_BLOCK_BYTES)
    mallopt(_M_TRIM_THRESHOLD, _KEPT_HEAP_BYTES)
    mallopt(_M_ARENA_MAX, _ARENAS)
