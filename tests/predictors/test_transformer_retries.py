"""The transformer's requests to its predictor: sent again once where nothing came back, and never more than a share."""

import asyncio
import io
import socket
from collections.abc import Awaitable, Callable, Sequence

import numpy as np
import pytest
from PIL import Image

from shardline.predictors.model import Answer
from shardline.predictors.picture import fit_picture
from shardline.predictors.transformer import ImageTransformer, RetryBudget, TransformerConfig
from shardline.storage.bundle import PictureSpec
from shardline.wire.errors import DeadlineError, PredictorDownError, PredictorError, ShardlineError
from shardline.wire.frame import decode
from shardline.wire.limits import Limits

REPLY = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
Connection = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def replies(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer one request and keep the connection."""
    await _request(reader)
    writer.write(REPLY)
    await writer.drain()


async def closes(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    """Close the connection in place of a reply, as a server does that ends."""
    await _request(reader)


async def half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Close the connection in the middle of the reply."""
    await _request(reader)
    writer.write(REPLY[:-1])
    await writer.drain()


async def is_silent(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    """Never reply."""
    await reader.read()


async def _request(reader: asyncio.StreamReader) -> None:
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length"))
    await reader.readexactly(int(length.partition(b":")[2]))


def ask(*connections: Connection, requests: int = 1, timeout_ms: int = 20_000) -> tuple[Sequence[object], int]:
    """Answers or errors of requests to a transformer whose predictor treats each connection in turn in this way.

    Also returns the number of connections; behind the last of `connections` the port is closed.
    """

    async def run() -> tuple[Sequence[object], int]:
        left, count = list(connections), 0

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal count
            count += 1
            behaviour = left.pop(0)
            if not left:
                server.close()
            try:
                await behaviour(reader, writer)
            finally:
                writer.close()

        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
            server = await asyncio.start_server(serve, sock=listener)
            if not left:
                server.close()
            model = transformer(port, timeout_ms)
            found = [await _outcome(model, picture()) for _ in range(requests)]
            await model.close()
            server.close()
            return found, count

    return asyncio.run(run())


async def _outcome(model: ImageTransformer, body: bytes) -> object:
    try:
        return await model.answer_or_error(body, {})
    except ShardlineError as exc:
        return exc


def transformer(port: int, timeout_ms: int) -> ImageTransformer:
    return ImageTransformer("net", f"http://127.0.0.1:{port}", config(timeout_ms))


def config(timeout_ms: int) -> TransformerConfig:
    return TransformerConfig(
        bundle="sha256:0",
        picture=PictureSpec(height=8, width=8),
        limits=Limits(),
        max_instances=1,
        request_timeout_ms=timeout_ms,
        max_queue=4,
    )


def picture() -> bytes:
    with io.BytesIO() as file:
        Image.new("RGB", (8, 8)).save(file, "PNG")
        return file.getvalue()


def test_a_connection_that_was_closed_is_opened_again_once() -> None:
    [answer], count = ask(closes, replies)

    assert isinstance(answer, Answer)
    assert count == 2


def test_a_predictor_that_always_closes_is_reported_after_two_requests() -> None:
    [error], count = ask(closes, closes, replies)

    assert isinstance(error, PredictorDownError)
    assert "does not answer" in str(error)
    assert count == 2


def test_half_a_reply_is_not_asked_for_again() -> None:
    [error], count = ask(half, replies)

    assert isinstance(error, PredictorError)
    assert error.status == 503
    assert "transformer of net: the predictor http://127.0.0.1:" in str(error)
    assert count == 1


def test_a_late_reply_is_not_asked_for_again() -> None:
    [error], count = ask(is_silent, replies, timeout_ms=300)

    assert isinstance(error, DeadlineError)
    assert count == 1


def test_a_predictor_that_is_down_gets_few_requests_more() -> None:
    errors, count = ask(*[closes] * 30, replies, requests=14)

    assert all(isinstance(error, PredictorDownError) for error in errors)
    assert count == 14 + 11


def test_the_budget_of_retries_is_earned_by_requests() -> None:
    budget = RetryBudget(share=0.5, most=2)
    assert [budget.take() for _ in range(3)] == [True, True, False]

    budget.add_request()
    assert not budget.take()
    budget.add_request()

    assert [budget.take(), budget.take()] == [True, False]


@pytest.mark.parametrize("side", [8, 3000])
def test_small_and_large_pictures_are_answered_alike(side: int) -> None:
    """A picture of nine megapixels goes another way."""
    with io.BytesIO() as file:
        Image.new("L", (side, side), 77).save(file, "PNG")
        body = file.getvalue()
    model = ImageTransformer("net", None, config(60_000))
    expected = fit_picture(body, config(0).picture, config(0).limits).pixels

    answer = asyncio.run(_outcome(model, body))

    assert isinstance(answer, Answer)
    assert np.array_equal(decode(b"".join(answer.parts)).tensors["pixels"][0], expected)
