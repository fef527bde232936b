"""A Sequence: requests to its steps, the response to the client, and mapPredictionsToInstances."""

import gzip
import random
import socket
from http.client import HTTPConnection
from typing import Any

import pytest

DEADLINE_S = 15

# what reaches a step


def test_each_step_gets_the_answer_before_and_the_first_the_clients_body(steps: Any, router: Any) -> None:
    """With `data: $response` each step gets the response of the previous step, the first the client's body."""
    first, second, third = (steps.replies(lambda r, n=n: (200, {}, r.body + n)) for n in (b"1", b"2", b"3"))

    response, body = router(first.hard(), second.hard(), third.hard()).ask(b"0")

    assert (response.status, body) == (200, b"0123")
    assert [step.requests[0].body for step in (first, second, third)] == [b"0", b"01", b"012"]


@pytest.mark.parametrize("data", [None, "", "$request", "$response.predictions", "response"])
def test_any_other_data_is_the_clients_body(steps: Any, router: Any, data: str | None) -> None:
    """Any `data` but exactly `$response` gives a step the client's body."""
    first, second = steps.says(b"first"), steps.echo()
    target = {"serviceUrl": second.url} | ({} if data is None else {"data": data})

    _, body = router(first, target).ask(b"client")

    assert body == b"client"


def test_steps_are_posted_to_whatever_the_client_does(steps: Any, router: Any) -> None:
    """Any method and path but /readyz runs the graph, and steps are always POSTed to at their own URL."""
    only = steps.says(b"{}")
    running = router(only)

    for method, path in [("GET", "/"), ("PUT", "/v1/models/x:predict?a=b"), ("DELETE", "/readyz/"), ("PATCH", "/a")]:
        assert running.ask(b"body", method=method, path=path)[0].status == 200

    assert {(request.method, request.path, request.body) for request in only.requests} == {
        ("POST", "/v1/models/m:predict", b"body")
    }


def test_a_request_without_a_body_reaches_the_step_empty(steps: Any, router: Any) -> None:
    """A GET without a body reaches the step as an empty POST."""
    only = steps.says(b"{}")

    router(only).ask(None, method="GET")

    assert only.requests[0].body == b""


@pytest.mark.parametrize("dependency", ["Hard", "Soft"])
def test_frames_pass_byte_for_byte(steps: Any, router: Any, dependency: str) -> None:
    """3.1 MiB of random bytes pass two steps unchanged, Hard and Soft."""
    frame = random.Random(0).randbytes(3_200_000)
    first, second = steps.echo(), steps.echo()

    response, body = router(*({**step.hard(), "dependency": dependency} for step in (first, second))).ask(frame)

    assert response.status == 200
    assert body == first.requests[0].body == second.requests[0].body == frame


def test_no_body_is_too_large(steps: Any, router: Any) -> None:
    """A body of 40 MiB passes."""
    only = steps.replies(lambda r: (200, {}, str(len(r.body)).encode()))

    assert router(only).ask(bytes(40 * 1024**2))[1] == str(40 * 1024**2).encode()


def test_a_compressed_body_is_not_touched(steps: Any, router: Any) -> None:
    """A body with Content-Encoding is passed on unchanged."""
    only = steps.echo()

    assert router(only).ask(b"\x1f\x8bnot really", headers={"Content-Encoding": "gzip"})[1] == b"\x1f\x8bnot really"


def test_a_chunked_body_is_read_whole(steps: Any, router: Any) -> None:
    """A chunked body reaches the step whole."""
    only = steps.echo()
    running = router(only)
    connection = HTTPConnection("127.0.0.1", running.port, timeout=DEADLINE_S)

    connection.request("POST", "/", body=iter([b"one ", b"two"]), encode_chunked=True)

    assert connection.getresponse().read() == b"one two"
    connection.close()


def test_a_client_that_waits_for_100_continue_is_told_to_go_on(steps: Any, router: Any) -> None:
    """`Expect: 100-continue` is answered before the body is sent."""
    running = router(steps.echo())
    with socket.create_connection(("127.0.0.1", running.port), timeout=DEADLINE_S) as client:
        client.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")

        assert client.recv(100).startswith(b"HTTP/1.1 100 Continue")
        client.sendall(b"ab")
        assert client.recv(1000).startswith(b"HTTP/1.1 200 OK")


# the reply


CONTENT_TYPES = {
    b'{"predictions": [1]}': "application/json",
    b" [1, 2.50e3, null]\n": "application/json",
    b"123": "application/json",
    b"1" + b"0" * 5000: "application/json",
    b'"caf\xff"': "application/json",
    b"NaN": "text/plain; charset=utf-8",
    b'{"a": 1} x': "text/plain; charset=utf-8",
    b"{'a': 1}": "text/plain; charset=utf-8",
    b"plain": "text/plain; charset=utf-8",
    b"\x10\x00\x00\x00\x00\x00\x00\x00{}": "application/octet-stream",
    b'"a\x01b"': "application/octet-stream",
    b"": None,
}


def test_the_reply_is_json_if_its_bytes_are(steps: Any, router: Any) -> None:
    """The reply is labelled application/json if its bytes are JSON, otherwise as Go guesses, whatever the step sent."""
    running = router(steps.replies(lambda request: (200, {"Content-Type": "image/png"}, request.body)))

    replies = {body: running.ask(body) for body in CONTENT_TYPES}

    assert {body: response.headers["Content-Type"] for body, (response, _) in replies.items()} == CONTENT_TYPES
    assert all(reply == body for body, (_, reply) in replies.items())


def test_the_last_steps_status_is_the_replys(steps: Any, router: Any) -> None:
    """The last step's status is the reply's, 200 to 504."""
    running = router(steps.replies(lambda request: (int(request.body), {}, b'{"error": "x"}')))

    for status in (200, 201, 400, 404, 409, 413, 503, 504):
        response, body = running.ask(str(status).encode())

        assert (response.status, body) == (status, b'{"error": "x"}')


def test_a_hard_step_that_fails_ends_the_sequence(steps: Any, router: Any) -> None:
    """A Hard step's 503 and its body reach the client, and later steps are not called."""
    first, second = steps.says(b'{"error": "full"}', 503), steps.says(b"{}")

    response, body = router(first.hard(), second.hard()).ask()

    assert (response.status, body) == (503, b'{"error": "full"}')
    assert second.requests == []


@pytest.mark.parametrize("dependency", [{}, {"dependency": "Soft"}])
def test_a_soft_step_that_fails_hands_its_error_on(steps: Any, router: Any, dependency: dict[str, str]) -> None:
    """A Soft step's error body is the next step's input; Soft is the default."""
    first, second = steps.says(b"failed", 500), steps.echo()

    response, body = router({"serviceUrl": first.url, **dependency}, second.hard()).ask()

    assert (response.status, body) == (200, b"failed")


@pytest.mark.parametrize(("status", "method", "sent"), [(302, "GET", b""), (307, "POST", b"body")])
def test_redirects_are_followed(steps: Any, router: Any, status: int, method: str, sent: bytes) -> None:
    """A step's redirect is followed: 302 as a GET without a body, 307 unchanged."""
    there = steps.echo()

    router(steps.says(b"", status, Location=there.url)).ask(b"body")

    assert [(request.method, request.body) for request in there.requests] == [(method, sent)]


def test_a_compressed_answer_is_unpacked(steps: Any, router: Any) -> None:
    """A gzipped response is unpacked."""
    zipped = steps.says(gzip.compress(b'{"a": 1}'), **{"Content-Encoding": "gzip"})

    response, body = router(zipped).ask()

    assert body == b'{"a": 1}'
    assert response.headers["Content-Encoding"] is None


# mapPredictionsToInstances

# what KServe's binary was seen to send
MAPPED = {
    b'{"predictions": [1, 2]}': b'{"instances":[1,2]}',
    b'{"predictions": [1.0, 1.50, 1e3, 1E-7, 1e21, 1e20, 0.000001, -0.0]}': (
        b'{"instances":[1,1.5,1000,1e-7,1e+21,100000000000000000000,0.000001,-0]}'
    ),
    b'{"predictions": [12345678901234567890, 0.1, 5e-324, 1.7976931348623157e308, 123456.789e-20]}': (
        b'{"instances":[12345678901234567000,0.1,5e-324,1.7976931348623157e+308,1.23456789e-15]}'
    ),
    b'{"predictions": [{"b": 1, "a": "x", "Z": null}], "key": "dropped"}': b'{"instances":[{"Z":null,"a":"x","b":1}]}',
    b'{"predictions": ["<a & b>", "\\u00e9\\n\\u2028", "\\ud800", "\\b\\f\\u007f\\"\\\\/"]}': (
        b'{"instances":["\\u003ca \\u0026 b\\u003e","\xc3\xa9\\n\\u2028","\xef\xbf\xbd","\\b\\f\x7f\\"\\\\/"]}'
    ),
    b'{"predictions": [true, [], {}, [[1]]], "instances": [9]}': b'{"instances":[true,[],{},[[1]]]}',
    b'{"Predictions": [1]}': b'{"instances":[1]}',
}
LEFT_ALONE = [
    b'{"predictions": []}',
    b'{"predictions": null, "instances": [1]}',
    b'{"predictions": [1], "instances": "x"}',
    b'{"predictions": "x"}',
    b'{"predictions": {"a": 1}}',
    b'{"predictions": [1e999]}',
    b'{"predictions": [NaN]}',
    b'{"predictions": [1]} x',
    b"[1]",
    b"null",
    b"not JSON",
    b"\x10\x00\x00\x00\x00\x00\x00\x00{}",
]


def test_predictions_become_instances(steps: Any, router: Any) -> None:
    """mapPredictionsToInstances: the output of KServe's binary for 7 bodies, 1.0 as 1 and other keys dropped;
    12 others, binary ones among them, are left alone.
    """
    target = steps.echo()
    running = router({"serviceUrl": target.url, "mapPredictionsToInstances": True})

    for given, sent in (MAPPED | {body: body for body in LEFT_ALONE}).items():
        running.ask(given)

        assert target.requests[-1].body == sent


def test_the_answer_before_is_mapped_only_if_it_is_chosen(steps: Any, router: Any) -> None:
    """mapPredictionsToInstances acts on the chosen input: without `$response` on the client's body."""
    first = steps.says(b'{"predictions": [1]}')
    second, third = steps.echo(), steps.echo()
    mapped = {"mapPredictionsToInstances": True}

    router(first.hard(), {"serviceUrl": second.url, **mapped}, {**third.hard(), **mapped}).ask(b'{"instances": [0]}')

    assert second.requests[0].body == b'{"instances": [0]}'
    assert third.requests[0].body == b'{"instances": [0]}'
