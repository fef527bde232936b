"""Fast path of `POST /v1/models/NAME:predict`, with no KServe routes in between.

**Answering.** KServe leads a request through nine layers of middleware and routing, three timers and two log lines:
0.6 ms of CPU, and two more copies of the body. `PredictEndpoint` passes the block to the model and sends its answer in
parts, as the model returned them. The model, its errors and its metrics are the same; everything else, a model that is
not ready included, is left to KServe.
"""

import asyncio
import time
from collections.abc import Coroutine, Mapping
from typing import Any

from kserve.metrics import POST_HIST_TIME, PRE_HIST_TIME, PREDICT_HIST_TIME, get_labels
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shardline.predictors.connection import BODY, Body
from shardline.predictors.middleware import CLOSE, Drain
from shardline.predictors.model import Answer, BytesModel, logged_reply
from shardline.wire.errors import ShardlineError


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
        if body is None and scope["type"] == "http":
            await _while_connected(self._others, scope, receive, send)
        elif body is None:
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
        if body.is_lost:
            return
        start_s = time.perf_counter()
        self._preprocess_seconds.observe(0.0)  # there is no preprocessing, but KServe counts each request there
        try:
            answer = await _unless_lost(body, self._model.answer_or_error(whole, _headers(scope)))
        except ConnectionResetError:
            return
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


async def _unless_lost(body: Body, answering: Coroutine[Any, Any, Answer]) -> Answer:
    """Wait for the answer, and drop it if the client goes away meanwhile, so that nothing is computed for nobody.

    Raises:
        ConnectionResetError: the client went away.
        ShardlineError: the model's error.
    """
    task = asyncio.current_task()
    assert task is not None
    body.when_lost = task.cancel
    try:
        return await answering
    except asyncio.CancelledError as exc:
        if not body.is_lost:
            raise
        task.uncancel()
        raise ConnectionResetError("the client went away") from exc
    finally:
        body.when_lost = None


async def _while_connected(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    """Run an application for a request without a `Body`, such as a chunked one, until its client goes away."""
    is_whole = asyncio.Event()

    async def receive_noted() -> Message:
        message = await receive()
        if not message.get("more_body"):
            is_whole.set()
        return message

    async def cancel_when_left() -> None:
        await is_whole.wait()
        while (await receive())["type"] != "http.disconnect":
            pass
        answering.cancel()

    answering = asyncio.ensure_future(app(scope, receive_noted, send))
    watching = asyncio.create_task(cancel_when_left())
    try:
        await answering
    except asyncio.CancelledError:
        if not watching.done():
            raise
    finally:
        watching.cancel()


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
