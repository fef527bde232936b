"""What a server of ours serves: a KServe model that takes a body's bytes and gives an Answer."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass

from kserve import Model

from shardline.predictors.replies import JSON_TYPE
from shardline.wire.errors import PredictorError, RequestError, ShardlineError

FRAME_TYPE = "application/x-shardline-frame"

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Answer:
    """A reply's body, in parts that follow each other (at least one), and its Content-Type."""

    parts: tuple[bytes | memoryview, ...]
    content_type: str = JSON_TYPE


class BytesModel(Model):  # type: ignore[misc]  # kserve ships no types
    """A KServe model that takes bytes and gives an `Answer`. A subclass writes `answer`.

    `label` is what its errors begin with: the model's name, or what tells it from another server of that name.
    """

    def __init__(self, name: str, label: str | None = None) -> None:
        super().__init__(name, return_response_headers=True)
        self.label = label or name

    async def close(self) -> None:
        """Called once, when the last request is answered and the server goes."""

    async def answer(self, body: bytes | memoryview, headers: Mapping[str, str]) -> Answer:
        """
        Args:
            headers: the request's, names in lower case.

        Raises:
            ShardlineError: answered with its status and message.
        """
        raise NotImplementedError

    async def predict(
        self, payload: object, headers: dict[str, str] | None = None, response_headers: dict[str, str] | None = None
    ) -> bytes:
        """KServe's own way to `answer`."""
        if not isinstance(payload, bytes):
            raise RequestError(f"{self.name}: only the v1 protocol is served: POST to /v1/models/{self.name}:predict")
        answer = await self.answer_or_error(payload, headers or {})
        if response_headers is not None:
            response_headers["content-type"] = answer.content_type
        return b"".join(answer.parts)

    async def postprocess(self, result: bytes, *_: object) -> bytes:
        return result

    async def answer_or_error(self, body: bytes | memoryview, headers: Mapping[str, str]) -> Answer:
        """`answer`, with this server's name in front of whatever went wrong.

        Raises:
            ShardlineError: and nothing else.
        """
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
