"""Readiness and shutdown of a router."""

import signal
import threading
import time
from typing import Any

import pytest
from services.processes import wait_until
from services.routers import DEADLINE_S, Running


def ready(running: Running) -> tuple[int, bytes]:
    response, body = running.ask(None, method="GET", path="/readyz")
    return response.status, body


def told_to_stop(running: Running) -> None:
    running.process.send_signal(signal.SIGTERM)
    wait_until(lambda: ready(running)[0] == 503, "not ready", DEADLINE_S)


def test_ready_while_it_serves(steps: Any, router: Any) -> None:
    """/readyz answers 200 and an empty body, to any method."""
    running = router(steps.echo())

    for method in ("GET", "POST"):
        response, body = running.ask(None, method=method, path="/readyz?x=y")
        assert (response.status, body) == (200, b"")


def test_sigterm_turns_ready_and_serves_on(steps: Any, router: Any) -> None:
    """After SIGTERM /readyz answers 503 while new requests are still answered."""
    running = router(steps.echo())

    told_to_stop(running)

    assert ready(running) == (503, b"shutting down\n")
    assert running.ask(b"late")[1] == b"late"


def test_a_request_that_runs_at_sigterm_is_answered(steps: Any, router: Any) -> None:
    """A request that runs when SIGTERM arrives is answered."""
    going = threading.Event()
    only = steps.replies(lambda request: (going.wait(DEADLINE_S), (200, {}, request.body))[1])
    running = router(only)
    answers: list[bytes] = []
    asking = threading.Thread(target=lambda: answers.append(running.ask(b"early")[1]))
    asking.start()
    wait_until(lambda: bool(only.requests), "the step is asked", DEADLINE_S)

    told_to_stop(running)
    going.set()
    asking.join()

    assert answers == [b"early"]


@pytest.mark.slow
def test_it_ends_after_the_drain(steps: Any, router: Any) -> None:
    """Half a minute after SIGTERM the router ends with exit code 0."""
    running = router(steps.echo(), drain_s=1.5)  # KServe's takes its 30 s, and so does ours by default

    running.process.send_signal(signal.SIGTERM)
    told_at = time.monotonic()

    assert running.process.wait(running.drain_s + DEADLINE_S) == 0
    assert time.monotonic() - told_at > running.drain_s - 1
