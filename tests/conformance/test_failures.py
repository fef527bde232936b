"""Responses to a client when a step or the client itself fails or is late."""

import json
import socket
import threading
from collections.abc import Callable
from http.client import HTTPResponse, RemoteDisconnected
from typing import Any

import pytest
from services.processes import free_port, wait_until

DEADLINE_S = 15


def failure(response: HTTPResponse, body: bytes) -> str:
    document = json.loads(body)
    assert response.status == 500
    assert response.headers["Content-Type"] == "application/json"
    assert set(document) == {"error", "cause"}
    assert document["error"] == "Failed to process request"
    return str(document["cause"])


def test_a_step_that_does_not_listen_is_named(steps: Any, router: Any) -> None:
    """A step that is down: 500, and `cause` holds its address."""
    port = free_port()

    cause = failure(*router(steps.echo(), {"serviceUrl": f"http://127.0.0.1:{port}/v1/models/s1:predict"}).ask())

    assert cause == (
        f'Post "http://127.0.0.1:{port}/v1/models/s1:predict": dial tcp 127.0.0.1:{port}: connect: connection refused'
    )


def test_a_step_comes_back_and_so_do_good_replies(steps: Any, router: Any) -> None:
    """When the step listens again, the next request succeeds."""
    port = free_port()
    running = router({"serviceUrl": f"http://127.0.0.1:{port}/"})
    failure(*running.ask())

    steps.echo(port=port)

    assert running.ask(b"x")[1] == b"x"


def test_a_host_without_a_name_is_named(router: Any) -> None:
    """A host that no name server knows: 500 with the host in `cause`."""
    cause = failure(*router({"serviceUrl": "http://nobody.invalid/predict"}).ask())

    assert "nobody.invalid" in cause


def test_a_step_that_hangs_up_is_named(router: Any) -> None:
    """A step that closes the connection without a response: 500 with its URL in `cause`."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/s1"
        threading.Thread(target=_hang_up_after_the_request, args=(silent,), daemon=True).start()

        assert failure(*router({"serviceUrl": url}).ask()) == f'Post "{url}": EOF'


def _hang_up_after_the_request(server: socket.socket) -> None:
    connection, _ = server.accept()
    with connection:
        while not connection.recv(65536).endswith(b"{}"):
            pass


def test_half_an_answer_is_an_error(steps: Any, router: Any) -> None:
    """A step that closes the connection in the middle of its response: 500."""
    half = steps.says(b"half", **{"Content-Length": "100", "Connection": "close"})

    assert failure(*router(half).ask()) == "unexpected EOF"


def test_a_step_slower_than_service_client_is_named(router: Any) -> None:
    """A step slower than routerTimeouts.serviceClient: 500 with its URL in `cause`."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/s1"

        cause = failure(*router({"serviceUrl": url}, timeouts={"serviceClient": 1}).ask())

    assert cause == f'Post "{url}": context deadline exceeded (Client.Timeout exceeded while awaiting headers)'


def slow(seconds: float) -> Callable[[Any], Any]:
    """A slow step, to test the timeouts of the router."""

    def reply(request: Any) -> Any:
        threading.Event().wait(seconds)
        return 200, {}, request.body

    return reply


def test_an_answer_later_than_server_write_is_a_closed_connection(steps: Any, router: Any) -> None:
    """A response later than routerTimeouts.serverWrite: the connection is closed without a status."""
    running = router(steps.replies(slow(1.3)), timeouts={"serverWrite": 1})

    with pytest.raises(RemoteDisconnected):
        running.ask()


def test_an_answer_in_time_is_an_answer(steps: Any, router: Any) -> None:
    """A response within all routerTimeouts."""
    running = router(steps.replies(slow(0.3)), timeouts={"serverWrite": 2, "serverRead": 1, "serviceClient": 1})

    assert running.ask(b"x")[1] == b"x"


def test_what_has_come_within_server_read_goes_on(steps: Any, router: Any) -> None:
    """A late body: the part received within routerTimeouts.serverRead is sent to the step."""
    only = steps.echo()
    running = router(only, timeouts={"serverRead": 1})
    with socket.create_connection(("127.0.0.1", running.port), timeout=DEADLINE_S) as client:
        client.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf")

        wait_until(lambda: bool(only.requests), "the step is asked", DEADLINE_S)

    assert only.requests[0].body == b"half"


def test_an_idle_connection_is_closed_after_server_idle(steps: Any, router: Any) -> None:
    """A connection that is idle for routerTimeouts.serverIdle is closed."""
    running = router(steps.echo(), timeouts={"serverIdle": 1})
    with socket.create_connection(("127.0.0.1", running.port), timeout=DEADLINE_S) as client:
        client.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}")
        received = b"".join(iter(lambda: client.recv(65536), b""))

    assert received.endswith(b"{}")


def test_a_client_that_leaves_does_not_stop_the_steps(steps: Any, router: Any) -> None:
    """A client that disconnects stops nothing: the later steps are called."""
    gone = threading.Event()
    first, second = steps.replies(lambda r: (gone.wait(DEADLINE_S), (200, {}, r.body))[1]), steps.echo()
    running = router(first.hard(), second.hard())
    with socket.create_connection(("127.0.0.1", running.port), timeout=DEADLINE_S) as client:
        client.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody")
        wait_until(lambda: bool(first.requests), "the first step is asked", DEADLINE_S)
    gone.set()

    wait_until(lambda: bool(second.requests), "the second step is asked", DEADLINE_S)
    assert second.requests[0].body == b"body"
