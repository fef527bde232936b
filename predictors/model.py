"""Base class of the models that Shardline's servers serve: a body's bytes in, an Answer or an error reply out."""

import json
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass

from kserve import Model
from starlette.responses import Response

from shardline.wire.errors import PredictorError, RequestError, ShardlineError
from shardline.wire.text import printable

FRAME_TYPE = "application/x-shardline-frame"
JSON_TYPE = "application/json"

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Answer:
    """Body and Content-Type of a response. The parts, at least one, are sent one after the other."""

    parts: tuple[bytes | memoryview, ...]
    content_type: str = JSON_TYPE


class BytesModel(Model):  # type: ignore[misc]  # kserve ships no types
    """A KServe model that takes bytes and returns an `Answer`. A subclass implements `answer`.

    `label` begins its error messages: the model's name, or a text that distinguishes two servers of that name.
    """

    def __init__(self, name: str, label: str | None = None) -> None:
        super().__init__(name, return_response_headers=True)
        self.label = label or name

    async def close(self) -> None:
        """Release resources; called once, after the last request is answered."""

    async def answer(self, body: bytes | memoryview, headers: Mapping[str, str]) -> Answer:
        """Compute the response to one request.

        Args:
            headers: the request's headers, names in lower case.

        Raises:
            ShardlineError: sent with its status and message.
        """
        raise NotImplementedError

    async def predict(
        self, payload: object, headers: dict[str, str] | None = None, response_headers: dict[str, str] | None = None
    ) -> bytes:
        """Call `answer` the way KServe calls models."""
        if not isinstance(payload, bytes):
            raise RequestError(f"{self.name}: only the v1 protocol is served: POST to /v1/models/{self.name}:predict")
        answer = await self.answer_or_error(payload, headers or {})
        if response_headers is not None:
            response_headers["content-type"] = answer.content_type
        return b"".join(answer.parts)

    async def postprocess(self, result: bytes, *_: object) -> bytes:
        return result

    async def answer_or_error(self, body: bytes | memoryview, headers: Mapping[str, str]) -> Answer:
        """Call `answer` and put this server's label in front of any error's message.

        Raises:
            ShardlineError: and no other exception.
        """
        try:
            return await self.answer(body, headers)
        except PredictorError:
            raise  # its message names its own server
        except ShardlineError as exc:
            exc.args = (f"{self.label}: {exc}",)
            raise
        except Exception as exc:
            logger.exception("%s failed", self.label)
            raise ShardlineError(f"{self.label}: internal error ({type(exc).__name__}); its log says more") from exc


def error_reply(error: ShardlineError) -> Response:
    """Response for an error: its status, `{"error": "..."}` in one line, and Retry-After if it has one."""
    headers = {} if error.retry_after_s is None else {"retry-after": str(error.retry_after_s)}
    return Response(json.dumps({"error": printable(str(error))}, ensure_ascii=False), error.status, headers, JSON_TYPE)


def logged_reply(error: ShardlineError) -> Response:
    """Log an error in one line, unless too many were logged in this second, and return `error_reply`."""
    _LOG.add(error)
    return error_reply(error)


class ErrorLog:
    """Log of errors, at most so many lines a second: a client that causes thousands would keep the server busy."""

    def __init__(self, lines: int = 20) -> None:
        self._lines = lines
        self._second = 0
        self._errors = 0

    def add(self, error: ShardlineError) -> None:
        """Log an error, or count it if there were too many; the number of those is logged with the next error."""
        second = int(time.monotonic())
        if second != self._second:
            if (left_out := self._errors - self._lines) > 0:
                logger.warning("%d errors were left out of the log", left_out)
            self._second, self._errors = second, 0
        self._errors += 1
        if self._errors <= self._lines:
            logger.log(
                logging.WARNING if error.status < 500 else logging.ERROR, "%d: %s", error.status, printable(str(error))
            )


_LOG = ErrorLog()
