"""Headers that the router passes on to its steps, and its calls to them."""

import asyncio
import gzip
from typing import Any

import pytest

from shardline.manifests.transport import (
    StepClient,
    StepError,
    StepResponse,
    canonical,
    compile_patterns,
    propagated,
)

JSON = ("Content-Type", "application/json")


@pytest.mark.parametrize(
    ("name", "written"), [("x-request-ID", "X-Request-Id"), ("TRACEPARENT", "Traceparent"), ("a b", "a b")]
)
def test_names_are_written_as_go_does(name: str, written: str) -> None:
    assert canonical(name) == written


@pytest.mark.parametrize(
    ("patterns", "passed"),
    [
        (None, [JSON]),
        ("Traceparent", [("Traceparent", "00-1"), JSON]),
        ("traceparent", [JSON]),
        ("(?i)traceparent", [("Traceparent", "00-1"), JSON]),
        ("Content-Type", [("Content-Type", "text/plain")]),
        ("", [("Traceparent", "00-1"), ("Content-Type", "text/plain")]),
    ],
)
def test_headers_that_match_a_pattern_are_passed_on(patterns: str | None, passed: list[tuple[str, str]]) -> None:
    sent = [(b"traceparent", b"00-1"), (b"content-type", b"text/plain"), (b"host", b"here"), (b"connection", b"close")]

    assert propagated(sent, compile_patterns(patterns)) == passed


def test_patterns_that_go_cannot_read_are_skipped() -> None:
    assert [pattern.pattern for pattern in compile_patterns("X-A,(?=X),(,X-B")] == ["X-A", "X-B"]


def post(url: str, body: bytes = b"frame") -> StepResponse:
    async def once() -> StepResponse:
        async with StepClient(timeout_s=10) as client:
            return await client.post(url, body, [JSON])

    return asyncio.run(once())


def test_a_step_gets_the_body_and_its_response_comes_back(steps: Any) -> None:
    step = steps.replies(lambda request: (201, {}, request.body[::-1]))

    assert post(step.url) == StepResponse(status=201, body=b"emarf")


def test_gzip_is_undone(steps: Any) -> None:
    step = steps.replies(lambda request: (200, {"Content-Encoding": "gzip"}, gzip.compress(request.body)))

    assert post(step.url).body == b"frame"


def test_a_step_that_is_down_is_named_in_gos_words(free_port: Any) -> None:
    url = f"http://127.0.0.1:{free_port()}/"

    with pytest.raises(StepError, match=f'^Post "{url}": dial tcp 127.0.0.1:.*: connect: connection refused$') as down:
        post(url)

    assert down.value.status == 500


@pytest.mark.parametrize(("status", "ok"), [(199, False), (200, True), (299, True), (300, False)])
def test_only_2xx_is_ok(status: int, ok: bool) -> None:
    assert StepResponse(status=status, body=b"").ok is ok
