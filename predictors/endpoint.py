"""Fast path of `POST /v1/models/NAME:predict`: bodies gathered in one block, and no KServe routes in between.

**Receiving.** uvicorn appends each piece of a body, of up to 256 KiB, to a buffer and copies it again for the
application, which joins them all; and it stops reading after each 64 KiB until the application asks for more. For a
frame of 3 MB that is some ten megabytes of copying and dozens of wake-ups. `BodyProtocol` copies each piece into its
place in one block and wakes the application once, by the last byte: `scope["state"]["shardline.body"]` is a `Body`.
Receiving into the block past the parser (asyncio.BufferedProtocol) was tried and saved no CPU time. Bodies that are
chunked, over the limit, or waited for with `Expect: 100-continue` are left to uvicorn.

**Answering.** KServe leads a request through nine layers of middleware and routing, three timers and two log lines:
0.6 ms of CPU, and two more copies of the body. `PredictEndpoint` passes the block to the model and sends its answer in
parts, as the model returned them. The model, its errors and its metrics are the same; everything else, a model that is
not ready included, is left to KServe.
"""

import asyncio
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from kserve.metrics import POST_HIST_TIME, PRE_HIST_TIME, PREDICT_HIST_TIME, get_labels
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from shardline.predictors.middleware import CLOSE, Drain
from shardline.predictors.model import Answer, BytesModel, logged_reply
from shardline.wire.errors import ShardlineError

BODY = "shardline.body"


class Body:
    """A request's body while it is received: one block of `size_bytes`, never grown, never copied."""

    def __init__(self, size_bytes: int) -> None:
        self._block = np.empty(size_bytes, np.uint8).data  # bytearray would write zeros first
        self._received = 0
        self._complete: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def add(self, piece: bytes) -> None:
        """Add the next bytes; the parser passes no more than the announced length."""
        end = self._received + len(piece)
        self._block[self._received : end] = piece
        self._received = end
        if end == len(self._block) and not self._complete.done():
            self._complete.set_result(None)

    def lost(self) -> None:
        """Note that the client went away."""
        if not self._complete.done():
            self._complete.set_exception(ConnectionResetError("the client went away"))
            self._complete.exception()  # marks it as retrieved, whether or not anybody waits

    async def whole(self) -> memoryview:
        """Wait for the complete body.

        Raises:
            ConnectionResetError: the client went away first.
        """
        await self._complete
        return self._block


class BodyProtocol(HttpToolsProtocol):
    """uvicorn's HTTP/1.1 protocol for one connection. `limit_bytes` bounds the block for an announced body."""

    def __init__(self, *args: Any, limit_bytes: int, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._limit_bytes = limit_bytes
        self._body: Body | None = None

    def on_headers_complete(self) -> None:
        size_bytes = self._announced_bytes()
        if size_bytes:
            self._body = Body(size_bytes)
            self.scope["state"][BODY] = self._body
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        if self._body is None:
            super().on_body(body)
        else:
            self._body.add(body)

    def on_message_complete(self) -> None:
        self._body = None
        super().on_message_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._body is not None:
            self._body.lost()
        super().connection_lost(exc)

    def _announced_bytes(self) -> int:
        """Length of a body that is gathered in one block; 0 for all others."""
        if self.expect_100_continue or self.parser.should_upgrade():
            return 0
        lengths = [value for name, value in self.headers if name == b"content-length"]
        chunked = any(name == b"transfer-encoding" for name, _ in self.headers)
        if chunked or len(lengths) != 1 or not lengths[0].isdigit():
            return 0
        size_bytes = int(lengths[0])
        return size_bytes if size_bytes <= self._limit_bytes else 0


class PredictEndpoint:
    """ASGI application: the model's predict, and `others` for all other requests."""

    def __init__(self, others: ASGIApp, model: BytesModel, drain: Drain) -> None:
        self._others = others
        self._model = model
        self._drain = drain
        self._path = f"/v1/models/{model.name}:predict"
        labels = get_labels(model.name)
        self._predict_seconds = PREDICT_HIST_TIME.labels(**labels)
        self._preprocess_seconds = PRE_HIST_TIME.labels(**labels)
        self._postprocess_seconds = POST_HIST_TIME.labels(**labels)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = scope.get("state", {}).get(BODY)
        if body is None:
            await self._others(scope, receive, send)
        elif scope["method"] == "POST" and scope["path"] == self._path and self._model.ready:
            await self._predict(body, scope, receive, send)
        else:
            await self._others(scope, _ReceivedBody(body, receive), send)

    async def _predict(self, body: Body, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            whole = await body.whole()
        except ConnectionResetError:
            return
        start_s = time.perf_counter()
        self._preprocess_seconds.observe(0.0)  # there is no preprocessing, but KServe counts each request there
        try:
            answer = await self._model.answer_or_error(whole, _headers(scope))
        except ShardlineError as exc:
            await self._closing(logged_reply(exc))(scope, receive, send)
            return
        finally:
            self._predict_seconds.observe(time.perf_counter() - start_s)
        self._postprocess_seconds.observe(0.0)
        await self._send(answer, send)

    def _closing(self, response: Response) -> Response:
        if self._drain.begun:
            response.raw_headers.append(CLOSE)
        return response

    async def _send(self, answer: Answer, send: Send) -> None:
        headers = [
            (b"content-type", answer.content_type.encode("latin-1")),
            (b"content-length", str(sum(map(len, answer.parts))).encode()),
            *([CLOSE] if self._drain.begun else []),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for part in answer.parts[:-1]:
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": answer.parts[-1]})


class _ReceivedBody:
    """ASGI receive that passes a body in one block to an application."""

    def __init__(self, body: Body, receive: Receive) -> None:
        self._body: Body | None = body
        self._receive = receive

    async def __call__(self) -> Message:
        if self._body is None:
            return await self._receive()
        body, self._body = self._body, None
        try:
            return {"type": "http.request", "body": bytes(await body.whole())}
        except ConnectionResetError:
            return {"type": "http.disconnect"}


def _headers(scope: Scope) -> Mapping[str, str]:
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
