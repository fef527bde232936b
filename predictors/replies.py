"""An error as every server of ours answers it."""

import json
import logging

from starlette.responses import Response

from shardline.wire.errors import ShardlineError

JSON_TYPE = "application/json"

logger = logging.getLogger(__name__)


def error_reply(error: ShardlineError) -> Response:
    """The error's status, `{"error": "..."}`, and Retry-After where it has one."""
    headers = {} if error.retry_after_s is None else {"retry-after": str(error.retry_after_s)}
    return Response(json.dumps({"error": str(error)}, ensure_ascii=False), error.status, headers, JSON_TYPE)


def logged_reply(error: ShardlineError) -> Response:
    """As `error_reply`, and one line in the log."""
    level = logging.WARNING if error.status < 500 else logging.ERROR
    logger.log(level, "%d: %s", error.status, error)
    return error_reply(error)
