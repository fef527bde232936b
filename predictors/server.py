"""What every Shardline server adds to KServe's ModelServer.

KServe decodes a body by its Content-Type, and its router labels every body `application/json` and drops headers. So
here a body reaches the model as the bytes that were sent, whatever they are called, and the model knows them by their
first bytes. Bodies over the hard limit are refused without being kept. Every exception becomes a JSON reply: one that
KServe does not map makes uvicorn close the connection, and the router's next request on it fails. Nobody unloads the
model: KServe's server lets whoever reaches its port do so. And the request that counts takes a short way:

    socket ─▶ shardline.predictors.protocol ─▶ shardline.predictors.endpoint ─▶ the model        uvloop, one event loop
                                        └▶ KServe's routes: everything else
"""

import asyncio
import logging
import os
import sys
import warnings
from argparse import ArgumentParser, Namespace
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, NoReturn

import uvloop
from fastapi import FastAPI, Request, Response
from kserve import ModelServer
from kserve.constants.constants import FASTAPI_APP_IMPORT_STRING
from kserve.model_server import app
from kserve.model_server import parser as kserve_parser
from kserve.protocol.dataplane import DataPlane
from kserve.protocol.rest.server import RESTServer

from shardline.predictors.drain import CloseConnections, Drain
from shardline.predictors.endpoint import PredictEndpoint
from shardline.predictors.limit import BodyLimit
from shardline.predictors.memory import keep_freed_memory
from shardline.predictors.model import BytesModel
from shardline.predictors.protocol import BodyProtocol
from shardline.predictors.replies import logged_reply
from shardline.wire.errors import ForbiddenError, ShardlineError
from shardline.wire.limits import BODY_BYTES

_KEEP_ALIVE_SECONDS = 120  # longer than the 90 s that KServe's router keeps idle connections
_PER_REQUEST_LOGS = ("uvicorn.access", "kserve.trace")


class BytesDataPlane(DataPlane):  # type: ignore[misc]  # kserve ships no types
    """Hands v1 bodies on as they came."""

    def decode(self, body: Any, headers: Any, *args: Any, **kwargs: Any) -> tuple[Any, dict[str, Any]]:
        if isinstance(body, bytes) and not args and not kwargs:
            return body, {}
        result: tuple[Any, dict[str, Any]] = super().decode(body, headers, *args, **kwargs)
        return result


class _OneModelServer(ModelServer):  # type: ignore[misc]  # kserve ships no types
    """KServe's server for one model, with the short way in front of its routes, on uvloop.

    KServe takes the event loop from asyncio's default, whatever its --event-loop says, and leaves uvicorn's settings no
    door: so `start` is written anew, for one worker and no gRPC, which would load and unload models, too, and answers
    nothing that ours are asked.
    """

    def __init__(self, model: BytesModel, drain: Drain, arguments: Namespace) -> None:
        super().__init__(
            workers=1,
            enable_grpc=False,
            timeout_keep_alive=max(arguments.timeout_keep_alive, _KEEP_ALIVE_SECONDS),
        )
        self.dataplane = BytesDataPlane(model_registry=self.registered_models)
        self._endpoint = PredictEndpoint(app, model, drain)
        self._limit_bytes = arguments.max_body_bytes

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
        config.app = self._endpoint
        config.http = partial(BodyProtocol, limit_bytes=self._limit_bytes)
        config.proxy_headers = False  # nobody asks whose request it is
        for name in _PER_REQUEST_LOGS:
            logging.getLogger(name).disabled = True
        self.register_signal_handler()
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(self._rest_server.start())


async def _reply_to_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, ShardlineError)
    return logged_reply(error)


def arguments(description: str) -> ArgumentParser:
    """A parser with KServe's own arguments and those that every Shardline server takes."""
    parser = ArgumentParser(description=description, parents=[kserve_parser])
    parser.add_argument("--bundle_digest", help="sha256:… of bundle.json; frames of other bundles are refused")
    parser.add_argument("--max_queue", type=int, default=32, help="requests that may wait; more are answered 503")
    parser.add_argument("--max_body_bytes", type=int, default=BODY_BYTES, help="bodies over it are answered 413")
    parser.add_argument(
        "--drain_seconds", type=float, default=0, help="after SIGTERM, keep answering so long but end every connection"
    )
    return parser


def serve(model: BytesModel, arguments: Namespace) -> None:
    """Serve one loaded model until SIGTERM: then drain, finish the running requests and refuse new connections."""
    drain = Drain(arguments.drain_seconds)
    warnings.filterwarnings("ignore", message="ORJSONResponse is deprecated")  # KServe's own use of FastAPI
    app.add_exception_handler(ShardlineError, _reply_to_error)
    _close_repository(app, model.label)
    app.add_middleware(BodyLimit, label=model.label, limit_bytes=arguments.max_body_bytes)
    app.add_middleware(CloseConnections, drain=drain)
    app.router.lifespan_context = lambda _: _closing(model, drain)
    _OneModelServer(model, drain, arguments).start([model])


def _close_repository(app: FastAPI, label: str) -> None:
    """Stand before KServe's load and unload, which ask nobody who they are: the first route that matches answers."""

    async def refuse() -> NoReturn:
        raise ForbiddenError(f"{label}: no request loads or unloads a model: to change it apply another manifest")

    app.add_api_route("/v2/repository/{path:path}", refuse, methods=["GET", "POST"], response_model=None)


@asynccontextmanager
async def _closing(model: BytesModel, drain: Drain) -> AsyncIterator[None]:
    with drain.on_sigterm():
        yield
    await model.close()


def run_main(main: Callable[[], None]) -> NoReturn:
    """Run a server's main; a user's mistake ends the process with one line and exit code 1, before any port opens.

    The process ends without tearing the interpreter down: with torch loaded that takes seconds of CPU, which a pod that
    is told to stop does not have.
    """
    code = 0
    keep_freed_memory()
    try:
        main()
    except ShardlineError as exc:
        print(f"error: {exc}", file=sys.stderr)
        code = 1
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
