"""URLs of requests, retries, and the reading of replies."""

import json
import socket
import threading
import time
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from shardline.client.credentials import Credentials
from shardline.client.pictures import RequestBody
from shardline.client.target import Target, check_url
from shardline.wire.errors import PredictorDownError, PredictorError, UsageError

BODY = RequestBody(data=b"\xff\xd8\xff...", content_type="image/jpeg")
MODEL = "POST /v1/models/resnet50:predict"


def test_the_one_model_is_discovered_and_remembered(client: Any, serve: Any, photos: Path, answer: Any) -> None:
    refused = {"status": 405, "json": {"detail": "Method Not Allowed"}}
    server = serve({"POST /": [refused], "GET /v1/models": [{"json": {"models": ["resnet50"]}}], MODEL: [answer]})
    result = client(photos, "--url", server.url + "/", "--jobs", 1, "--json")

    assert (result.code, result.err) == (0, "")
    assert [f"{seen.method} {seen.path}" for seen in server.requests()] == ["POST /", "GET /v1/models"] + [MODEL] * 4


def test_a_url_with_a_path_is_used_as_it_is(serve: Any) -> None:
    server = serve({"GET /v1/models": [{"json": {"models": ["resnet50"]}}]})

    with pytest.raises(PredictorError, match="404: Not Found"):
        Target(f"{server.url}/v1/models/other:predict").ask(BODY)
    assert [seen.method for seen in server.requests()] == ["POST"]


@pytest.mark.parametrize("names", [[], ["cats", "dogs"]])
def test_not_exactly_one_model_asks_for_the_path(serve: Any, names: list[str]) -> None:
    server = serve({"GET /v1/models": [{"json": {"models": names}}]})

    with pytest.raises(PredictorError, match=rf"{len(names)} models .* --url {server.url}/v1/models/NAME:predict"):
        Target(server.url).ask(BODY)


def test_no_list_of_models_keeps_the_first_error(serve: Any) -> None:
    server = serve({"POST /": [{"status": 404, "json": {"error": "none of the routes matched"}}]})

    with pytest.raises(PredictorError, match="404: none of the routes matched"):
        Target(server.url).ask(BODY)


def test_a_busy_server_is_asked_again_after_its_retry_after(serve: Any, answer: Any) -> None:
    busy = {"status": 503, "headers": {"Retry-After": "0"}, "json": {"error": "queue full"}}
    past = {**busy, "headers": {"Retry-After": "Thu, 01 Jan 1970 00:00:00 GMT"}}
    server = serve({"POST /": [busy, past, {**busy, "headers": {"Retry-After": "0"}}, answer]})

    assert Target(server.url).ask(BODY).predictions == tuple(answer["json"]["predictions"])
    assert len(server.requests()) == 4


def test_retries_end(serve: Any) -> None:
    server = serve({"POST /": [{"status": 503, "headers": {"Retry-After": "0"}, "json": {"error": "queue full"}}]})

    with pytest.raises(PredictorError, match="503: queue full") as raised:
        Target(server.url, retries=2).ask(BODY)
    assert raised.value.status == 503
    assert len(server.requests()) == 3


def test_a_retry_after_beyond_the_timeout_is_not_waited_for(serve: Any) -> None:
    server = serve({"POST /": [{"status": 503, "headers": {"Retry-After": "3600"}, "json": {"error": "down"}}]})

    with pytest.raises(PredictorError, match="503: down"):
        Target(server.url, timeout_s=5).ask(BODY)
    assert len(server.requests()) == 1


def test_a_connection_that_breaks_is_retried(serve: Any, answer: Any) -> None:
    server = serve({"POST /": [{"drop": True}, answer]})

    assert Target(server.url).ask(BODY).seconds > 0


def test_a_server_that_always_closes_the_connection_is_not_called_unreachable(serve: Any) -> None:
    server = serve({"POST /": [{"drop": True}]})

    with pytest.raises(PredictorError, match="closed the connection without a reply"):
        Target(server.url, retries=1).ask(BODY)
    assert len(server.requests()) == 2


def test_a_reply_that_does_not_come_in_time_is_not_requested_again(serve: Any) -> None:
    server = serve({"POST /": [{"hang": True}]})

    with pytest.raises(PredictorError, match=r"no reply within 0\.2 s: raise --timeout"):
        Target(server.url, timeout_s=0.2).ask(BODY)
    assert len(server.requests()) == 1


def test_a_server_that_is_away() -> None:
    with pytest.raises(PredictorDownError, match=r"http://127\.0\.0\.1:1 does not answer \(Connection refused\)"):
        Target("http://127.0.0.1:1", retries=0).ask(BODY)


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        ({"status": 400, "json": {"error": "instance 0: empty"}}, "400: instance 0: empty"),
        (
            {"status": 500, "json": {"error": "Failed", "cause": "dial tcp:\n refused"}},
            "500: Failed: dial tcp: refused",
        ),
        ({"status": 422, "json": {"detail": [{"loc": "x"}]}}, '422: [{"loc": "x"}]'),
        ({"status": 413, "text": "<html>\n too   large" + "!" * 300}, "413: <html> too large" + "!" * 184),
        ({"status": 502, "text": ""}, "502: Bad Gateway"),
        ({"status": 500, "json": ["odd"]}, '500: ["odd"]'),
        ({"status": 500, "json": {"error": None}}, '500: {"error": null}'),
        ({"status": 301, "headers": {"Location": "https://there/"}}, "301: moved: give --url https://there/"),
        ({"text": "hello"}, "200: not a v1 reply with predictions: hello"),
        ({"json": [1]}, "200: not a v1 reply with predictions: [1]"),
        ({"json": {"predictions": {}}}, '200: not a v1 reply with predictions: {"predictions": {}}'),
        ({"text": "[" * 100_000}, "200: not a v1 reply with predictions: " + "[" * 200),
    ],
)
def test_other_replies_become_one_line(serve: Any, reply: dict[str, Any], message: str) -> None:
    server = serve({"POST /": [reply]})

    with pytest.raises(PredictorError) as raised:
        Target(server.url, retries=0).ask(BODY)
    assert str(raised.value) == message


def test_timings_are_read(serve: Any) -> None:
    server = serve({"POST /": [{"text": json.dumps({"predictions": [], "timings": {"0": 1.5}})}]})

    assert Target(server.url).ask(BODY).timings == {"0": 1.5}


def test_urls() -> None:
    assert check_url("localhost:8080/x") == "http://localhost:8080/x"
    assert check_url("https://[::1]:8443") == "https://[::1]:8443"
    for text in ("", "http://", "http://a:b", "http://a:0", "http://[::1", "http://a b/", "file:///etc/passwd"):
        with pytest.raises(UsageError, match="is not a URL"):
            check_url(text)


@contextmanager
def answering(send: Callable[[socket.socket], object]) -> Iterator[str]:
    """A server that answers every request by `send`, until its client goes away."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection, suppress(OSError):
                connection.recv(65536)
                send(connection)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1/models/m:predict"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def endlessly(connection: socket.socket, piece: bytes, pause_s: float = 0.0) -> None:
    while True:
        connection.sendall(piece)
        time.sleep(pause_s)


def reply_of(status: int, headers: str, piece: bytes, pause_s: float = 0.0) -> Callable[[socket.socket], object]:
    def send(connection: socket.socket) -> None:
        connection.sendall(f"HTTP/1.1 {status} X\r\n{headers}\r\n".encode())
        endlessly(connection, piece, pause_s)

    return send


def packed_zeros(size_bytes: int) -> bytes:
    packer = zlib.compressobj(wbits=31)
    return b"".join([*(packer.compress(bytes(2**20)) for _ in range(size_bytes // 2**20)), packer.flush()])


@pytest.mark.parametrize(
    ("send", "message"),
    [
        pytest.param(reply_of(200, "", b"x" * 65536), r"larger than 32\.0 MiB", id="endless"),
        pytest.param(reply_of(500, "", b"x" * 65536), r"larger than 32\.0 MiB", id="endless error"),
        pytest.param(
            reply_of(200, "Content-Encoding: gzip\r\n", packed_zeros(300 * 2**20)), r"larger than 32\.0 MiB", id="bomb"
        ),
        pytest.param(reply_of(503, "Retry-After: 0\r\n", b"x" * 65536), r"larger than 32\.0 MiB", id="endless 503"),
        pytest.param(reply_of(200, "", b"x", 0.05), r"no reply within 1 s", id="slow body"),
        pytest.param(lambda there: endlessly(there, b"H", 0.05), r"no reply within 1 s", id="slow status"),
    ],
)
def test_a_reply_is_bounded_in_bytes_and_time(send: Callable[[socket.socket], object], message: str) -> None:
    with answering(send) as url:
        started = time.monotonic()
        tracemalloc.start()
        with pytest.raises(PredictorError, match=message):
            Target(url, timeout_s=1 if "within" in message else 20, retries=1).ask(BODY)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()

    assert peak < 150 * 2**20
    assert time.monotonic() - started < (5 if "within" in message else 20)


def test_a_reply_of_too_many_values_is_not_parsed(serve: Any) -> None:
    server = serve({"POST /": [{"text": "[],", "repeat": 2_500_000}]})

    with pytest.raises(PredictorError, match="200: not a v1 reply with predictions"):
        Target(server.url, retries=0).ask(BODY)


def test_https_to_a_port_of_http_is_named(serve: Any) -> None:
    url = serve({"POST /": [{"json": {"predictions": [1]}}]}).url.replace("http:", "https:")

    with pytest.raises(PredictorDownError, match=r"no TLS .*: the server speaks http: write http:// in the URL"):
        Target(url, retries=0).ask(BODY)


def test_an_error_that_repeats_the_request_is_cut(serve: Any) -> None:
    server = serve({"POST /": [{"status": 400, "json": {"detail": [{"input": "x" * 100_000}]}}]})

    with pytest.raises(PredictorError) as caught:
        Target(server.url, retries=0).ask(BODY)

    assert len(str(caught.value)) < 1100


def test_a_redirect_gets_no_token(serve: Any) -> None:
    there = serve({"POST /": [{"json": {"predictions": [1]}}]})
    here = serve({"POST /": [{"status": 307, "headers": {"Location": there.url}, "text": ""}]})

    with pytest.raises(PredictorError, match="307: moved: give --url"):
        Target(here.url, credentials=Credentials(token="secret")).ask(BODY)
    assert there.requests() == []
