"""The base class of served models: how answers and errors leave it."""

import asyncio
import json
import logging
from collections.abc import Mapping
from logging.handlers import BufferingHandler

import pytest

from shardline.predictors.model import JSON_TYPE, Answer, BytesModel, ErrorLog, error_reply, logged_reply
from shardline.wire.errors import FrameError, PredictorError, QueueFullError, RequestError, ShardlineError


class Scripted(BytesModel):
    """A model that answers its body in two parts, or raises an error."""

    error: Exception | None = None

    async def answer(self, body: bytes | memoryview, headers: Mapping[str, str]) -> Answer:
        if self.error:
            raise self.error
        return Answer((bytes(body), headers["x-more"].encode()), "text/plain")


def test_kserve_gets_the_parts_joined_and_their_type() -> None:
    headers: dict[str, str] = {}
    body = asyncio.run(Scripted("m").predict(b"ab", {"x-more": "cd"}, headers))

    assert (body, headers) == (b"abcd", {"content-type": "text/plain"})
    assert Answer((b"{}",)).content_type == JSON_TYPE


def test_other_protocols_of_kserve_are_refused() -> None:
    with pytest.raises(RequestError, match="m: only the v1 protocol is served: POST to /v1/models/m:predict"):
        asyncio.run(Scripted("m").predict({"inputs": []}))


@pytest.mark.parametrize(
    ("raised", "message"),
    [
        (FrameError("too short"), "stage m: too short"),
        (PredictorError("m-0: busy", 503), "m-0: busy"),
        (RuntimeError("secret"), "stage m: internal error (RuntimeError); its log says more"),
    ],
)
def test_errors_name_the_server_and_keep_their_class(raised: Exception, message: str) -> None:
    model = Scripted("m", label="stage m")
    model.error = raised
    with pytest.raises(ShardlineError) as caught:
        asyncio.run(model.answer_or_error(b"", {}))

    assert str(caught.value) == message
    assert type(caught.value) is (ShardlineError if isinstance(raised, RuntimeError) else type(raised))


def test_an_error_becomes_a_json_reply_with_its_status_and_one_line_in_the_log() -> None:
    log = BufferingHandler(capacity=10)
    logging.getLogger("shardline.predictors.model").addHandler(log)
    reply = logged_reply(QueueFullError("7 requests wait — ü"))
    logging.getLogger("shardline.predictors.model").removeHandler(log)

    assert (reply.status_code, reply.headers["retry-after"], reply.media_type) == (503, "1", JSON_TYPE)
    assert json.loads(bytes(reply.body)) == {"error": "7 requests wait — ü"}
    assert "retry-after" not in error_reply(FrameError("odd")).headers
    assert [record.getMessage() for record in log.buffer] == ["503: 7 requests wait — ü"]


def test_thousands_of_errors_are_a_few_lines() -> None:
    handler = BufferingHandler(10_000)
    logger = logging.getLogger("shardline.predictors.model")
    logger.addHandler(handler)
    try:
        log = ErrorLog(lines=3)
        for _ in range(2000):
            log.add(QueueFullError("full"))
    finally:
        logger.removeHandler(handler)

    assert 3 <= len(handler.buffer) <= 10  # a second may end meanwhile


def test_an_error_with_a_name_of_the_client_s_stays_one_line() -> None:
    reply = error_reply(RequestError("parameter a\nERROR: b\x1b[2J is unknown"))

    assert json.loads(bytes(reply.body))["error"].isprintable()
