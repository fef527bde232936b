"""What every Shardline server adds to KServe's ModelServer.

KServe decodes a body by its Content-Type, and its router labels every body `application/json` and drops headers. So
here a body reaches the model as the bytes that were sent, whatever they are called, and the model knows them by their
first bytes. Bodies over the hard limit are refused without being kept. Every exception becomes a JSON reply: one that
KServe does not map makes uvicorn close the connection, and the router's next request on it fails. And nobody unloads
the model: KServe's server lets whoever reaches its port do so.
"""

import asyncio
import json
import logging
import os
import sys
import warnings
from argparse import ArgumentParser, Namespace
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, NoReturn

from fastapi import FastAPI, Request, Response
from kserve import Model, ModelServer
from kserve.model_server import app
from kserve.model_server import parser as kserve_parser
from kserve.protocol.dataplane import DataPlane
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from predictors.drain import CloseConnections, Drain
from wire.errors import ForbiddenError, PredictorError, RequestError, ShardlineError, TooLargeError
from wire.limits import BODY_BYTES, mebibytes

logger = logging.getLogger(__name__)

_DISCARD_FACTOR = 8  # of the limit: how much of a too large body is read away so that its sender hears the answer
_DISCARD_SECONDS = 10.0
_KEEP_ALIVE_SECONDS = 120  # longer than the 90 s that KServe's router keeps idle connections


@dataclass(frozen=True, slots=True)
class Answer:
    """A reply's body and its Content-Type."""

    body: bytes
    content_type: str


JSON_TYPE = "application/json"
FRAME_TYPE = "application/x-shardline-frame"


class BytesModel(Model):  # type: ignore[misc]  # kserve ships no types
    """A KServe model that takes bytes and gives an `Answer`. A subclass writes `answer`.

    `label` is what its errors begin with: the model's name, or what tells it from another server of that name.
    """

    def __init__(self, name: str, label: str | None = None) -> None:
        super().__init__(name, return_response_headers=True)
        self.label = label or name

    async def close(self) -> None:
        """Called once, when the last request is answered and the server goes."""

    async def answer(self, body: bytes, headers: Mapping[str, str]) -> Answer:
        """
        Raises:
            ShardlineError: answered with its status and message.
        """
        raise NotImplementedError

    async def predict(
        self, payload: object, headers: dict[str, str] | None = None, response_headers: dict[str, str] | None = None
    ) -> bytes:
        if not isinstance(payload, bytes):
            raise RequestError(f"{self.name}: only the v1 protocol is served: POST to /v1/models/{self.name}:predict")
        answer = await self._answer_or_error(payload, headers or {})
        if response_headers is not None:
            response_headers["content-type"] = answer.content_type
        return answer.body

    async def postprocess(self, result: bytes, *_: object) -> bytes:
        return result

    async def _answer_or_error(self, body: bytes, headers: Mapping[str, str]) -> Answer:
        try:
            return await self.answer(body, headers)
        except PredictorError:
            raise  # names its own server already
        except ShardlineError as exc:
            exc.args = (f"{self.label}: {exc}",)
            raise
        except Exception as exc:
            logger.exception("%s failed", self.label)
            raise ShardlineError(f"{self.label}: internal error ({type(exc).__name__}); its log says more") from exc


class BytesDataPlane(DataPlane):  # type: ignore[misc]  # kserve ships no types
    """Hands v1 bodies on as they came."""

    def decode(self, body: Any, headers: Any, *args: Any, **kwargs: Any) -> tuple[Any, dict[str, Any]]:
        if isinstance(body, bytes) and not args and not kwargs:
            return body, {}
        result: tuple[Any, dict[str, Any]] = super().decode(body, headers, *args, **kwargs)
        return result


class BodyLimit:
    """ASGI middleware: a body over `limit_bytes` is answered 413, its bytes read away and never kept."""

    def __init__(self, app: ASGIApp, label: str, limit_bytes: int) -> None:
        self._app = app
        self._label = label
        self._limit_bytes = limit_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        declared = int(headers.get(b"content-length", b"0"))
        if declared > self._limit_bytes:
            if b"expect" not in headers:
                await self._discard(receive)
            await self._refuse(f"{declared} bytes")(scope, receive, send)
            return
        counted = _Counted(receive, self._limit_bytes)
        try:
            await self._app(scope, counted, send)
        except _Exceeded:
            await self._discard(receive)
            await self._refuse(f"at least {counted.size_bytes} bytes")(scope, receive, send)

    async def _discard(self, receive: Receive) -> None:
        left = self._limit_bytes * _DISCARD_FACTOR
        try:
            async with asyncio.timeout(_DISCARD_SECONDS):
                while left > 0:
                    message = await receive()
                    left -= len(message.get("body", b""))
                    if not message.get("more_body"):
                        return
        except TimeoutError:
            return

    def _refuse(self, size: str) -> Response:
        return error_reply(
            TooLargeError(
                f"{self._label}: the body has {size}, at most {self._limit_bytes} ({mebibytes(self._limit_bytes)}) are "
                "read: send a smaller picture or fewer instances"
            )
        )


class _Exceeded(Exception):  # noqa: N818  # not an error of the user's: it only unwinds to BodyLimit
    pass


class _Counted:
    """Counts the bytes of a body as they come, and breaks off behind the limit."""

    def __init__(self, receive: Receive, limit_bytes: int) -> None:
        self._receive = receive
        self._limit_bytes = limit_bytes
        self.size_bytes = 0

    async def __call__(self) -> Message:
        message = await self._receive()
        self.size_bytes += len(message.get("body", b""))
        if self.size_bytes > self._limit_bytes:
            raise _Exceeded
        return message


def error_reply(error: ShardlineError) -> Response:
    """The error's status, `{"error": "..."}`, and Retry-After where it has one."""
    headers = {} if error.retry_after_s is None else {"retry-after": str(error.retry_after_s)}
    return Response(json.dumps({"error": str(error)}, ensure_ascii=False), error.status, headers, JSON_TYPE)


async def _reply_to_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, ShardlineError)
    level = logging.WARNING if error.status < 500 else logging.ERROR
    logger.log(level, "%d: %s", error.status, error)
    return error_reply(error)


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
    server = ModelServer(
        workers=1,
        enable_grpc=False,  # it would load and unload models, too, and answers nothing that ours are asked
        timeout_keep_alive=max(arguments.timeout_keep_alive, _KEEP_ALIVE_SECONDS),
    )
    server.dataplane = BytesDataPlane(model_registry=server.registered_models)
    app.add_exception_handler(ShardlineError, _reply_to_error)
    _close_repository(app, model.label)
    app.add_middleware(BodyLimit, label=model.label, limit_bytes=arguments.max_body_bytes)
    app.add_middleware(CloseConnections, drain=drain)
    app.router.lifespan_context = lambda _: _closing(model, drain)
    server.start([model])


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
    try:
        main()
    except ShardlineError as exc:
        print(f"error: {exc}", file=sys.stderr)
        code = 1
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
