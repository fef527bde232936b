"""Connections, to the router and from it."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

from services.routers import DEADLINE_S


def test_connections_to_steps_are_kept(steps: Any, router: Any) -> None:
    """Ten requests, one after the other on one connection, reach the step on one connection as well."""
    only = steps.echo()
    bodies = [str(number).encode() for number in range(10)]

    assert router(only).ask_all(bodies) == [(200, body) for body in bodies]
    assert len({request.connection for request in only.requests}) == 1


def test_a_connection_that_the_step_closes_is_not_used_again(steps: Any, router: Any) -> None:
    """A step that answers with `Connection: close` is called on a new connection each time, and no request fails."""
    only = steps.says(b"{}", Connection="close")

    assert set(router(only).ask_all([b"{}"] * 10)) == {(200, b"{}")}
    assert len({request.connection for request in only.requests}) == 10


def test_requests_do_not_wait_for_each_other(steps: Any, router: Any) -> None:
    """Eight clients send requests to the step at the same time, and each gets its own response."""
    together = Barrier(8)
    only = steps.replies(lambda request: (together.wait(DEADLINE_S), (200, {}, request.body))[1])
    running = router(only)

    with ThreadPoolExecutor(8) as clients:
        answers = list(clients.map(lambda n: running.ask(str(n).encode())[1], range(8)))

    assert answers == [str(number).encode() for number in range(8)]
