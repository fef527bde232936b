"""Between the socket and the model: bodies of every size, in any pieces, and what comes right behind them."""

import re
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from services.processes import ROOT, answers, free_port, running, wait_until

LIMIT = 4 * 1024**2
SEEN = 64 * 1024  # a size around which pieces are tried


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    port, log = free_port(), tmp_path_factory.mktemp("echo") / "log"
    arguments = ["--model_name=echo", f"--http_port={port}", f"--max_body_bytes={LIMIT}"]
    with running([sys.executable, str(ROOT / "tests" / "services" / "echo.py"), *arguments], log) as process:
        wait_until(lambda: process.poll() is not None or answers(f"http://127.0.0.1:{port}/v1/models/echo"), "echo")
        assert process.poll() is None, log.read_text()
        yield port


@pytest.fixture
def url(port: int) -> str:
    return f"http://127.0.0.1:{port}/v1/models/echo:predict"


def body_of(size: int) -> bytes:
    return bytes(range(256)) * (size // 256) + b"x" * (size % 256)


def request(body: bytes, path: str = "/v1/models/echo:predict", *headers: str) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: echo", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


class Connection:
    """A client that decides what goes into each piece."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self._file = self._socket.makefile("rb")

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def answer(self) -> tuple[int, bytes]:
        status = int(self._file.readline().split()[1])
        headers = {}
        while line := self._file.readline().strip():
            name, _, value = line.decode().partition(":")
            headers[name.lower()] = value.strip()
        return status, self._file.read(int(headers["content-length"]))

    def close(self) -> None:
        self._socket.close()
        self._file.close()


@pytest.fixture
def connection(port: int) -> Iterator[Connection]:
    connection = Connection(port)
    yield connection
    connection.close()


@pytest.mark.parametrize("size", [0, 1, SEEN - 1, SEEN, SEEN + 1, 3_211_600, LIMIT])
def test_every_size_comes_whole_and_goes_back_whole(url: str, size: int) -> None:
    body = body_of(size)

    reply = requests.post(url, data=body, timeout=30)

    assert (reply.status_code, reply.headers["content-type"]) == (200, "application/x-echo")
    assert reply.content == f"{size}:".encode() + body


def test_one_connection_serves_long_and_short_bodies_in_turn(url: str) -> None:
    with requests.Session() as session:
        for size in (200_000, 3, 100_000, 0, SEEN + 1, 2_000_000):
            assert session.post(url, data=body_of(size), timeout=30).content == f"{size}:".encode() + body_of(size)


@pytest.mark.parametrize("cuts", [(10,), (-1,), (60, 61, 62), (SEEN,), (SEEN - 1, SEEN + 1, -2)])
def test_pieces_may_end_anywhere(connection: Connection, cuts: tuple[int, ...]) -> None:
    body = body_of(150_000)
    whole = request(body)
    places = sorted(cut % len(whole) for cut in cuts)

    for start, stop in zip([0, *places], [*places, len(whole)], strict=True):
        connection.send(whole[start:stop])

    assert connection.answer() == (200, b"150000:" + body)


def test_requests_that_come_at_once_are_answered_in_order(connection: Connection) -> None:
    bodies = [body_of(size) for size in (100_000, 5, 0, 7, 70_000, 300_000)]

    connection.send(b"".join(map(request, bodies)))

    assert [connection.answer() for _ in bodies] == [(200, f"{len(body)}:".encode() + body) for body in bodies]


def test_a_chunked_body_and_one_that_waits_to_be_asked_for_take_the_long_way(url: str) -> None:
    pieces = [body_of(100_000)] * 3

    chunked = requests.post(url, data=iter(pieces), timeout=30)
    asked_for = requests.post(url, data=b"".join(pieces), headers={"expect": "100-continue"}, timeout=30)

    assert chunked.content == asked_for.content == b"300000:" + b"".join(pieces)


def test_other_paths_get_their_bodies_from_kserve(connection: Connection, port: int) -> None:
    body = body_of(100_000)
    expected = {"/v1/models/other:predict": 404, "/v1/models/echo:explain": 501, "/nowhere": 404}

    for path, status in expected.items():
        connection.send(request(body, path))
        assert connection.answer()[0] == status
    connection.send(request(body))

    assert connection.answer() == (200, b"100000:" + body)
    assert requests.get(f"http://127.0.0.1:{port}/v1/models", timeout=30).json() == {"models": ["echo"]}


def test_errors_are_json_and_keep_the_connection(connection: Connection) -> None:
    filler = body_of(100_000)

    connection.send(request(b"fail" + filler) + request(b"trip" + filler) + request(filler))

    assert connection.answer() == (400, b'{"error": "echo: asked to fail"}')
    assert connection.answer() == (500, b'{"error": "echo: internal error (RuntimeError); its log says more"}')
    assert connection.answer()[0] == 200


def test_a_body_over_the_limit_is_refused(url: str) -> None:
    reply = requests.post(url, data=bytes(LIMIT + 1), timeout=30)

    assert reply.status_code == 413
    assert reply.json()["error"].startswith(f"echo: the body has {LIMIT + 1} bytes, at most {LIMIT} (4.0 MiB) are read")


def test_a_client_that_leaves_in_the_middle_disturbs_nobody(connection: Connection, url: str) -> None:
    connection.send(request(body_of(1_000_000))[:200_000])
    connection.close()

    assert requests.post(url, data=b"next", timeout=30).content == b"4:next"


def test_nothing_is_computed_for_a_client_that_left(port: int, url: str) -> None:
    long, chunked = Connection(port), Connection(port)
    long.send(request(b"wait"))
    chunked.send(b"POST /v1/models/echo:predict HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
    chunked.send(b"4\r\nwait\r\n0\r\n\r\n")

    assert requests.post(url, data=b"next", timeout=30).content == b"4:next"  # by then both have arrived
    long.close()
    chunked.close()

    wait_until(lambda: requests.post(url, data=b"left", timeout=30).content == b"2", "both to be stopped")


def test_kserve_s_own_metrics_count_every_request(port: int, url: str) -> None:
    def counts() -> dict[str, float]:
        text = requests.get(f"http://127.0.0.1:{port}/metrics", timeout=30).text
        found = re.findall(r'^request_(\w+)_seconds_count\{model_name="echo"\} (\S+)', text, re.MULTILINE)
        return {name: float(value) for name, value in found}

    before = counts()
    for size in (10, 100_000):
        requests.post(url, data=body_of(size), timeout=30)
    after = counts()

    assert {name: after[name] - before[name] for name in ("preprocess", "predict", "postprocess")} == dict.fromkeys(
        ("preprocess", "predict", "postprocess"), 2.0
    )


def test_no_request_is_a_line_in_the_log(tmp_path: Path) -> None:
    port, log = free_port(), tmp_path / "log"
    program = str(ROOT / "tests" / "services" / "echo.py")
    with running([sys.executable, program, "--model_name=echo", f"--http_port={port}"], log):
        wait_until(lambda: answers(f"http://127.0.0.1:{port}/v1/models/echo"), "echo")
        for size in (10, 100_000):
            assert requests.post(f"http://127.0.0.1:{port}/v1/models/echo:predict", data=bytes(size), timeout=30).ok

    assert "predict" not in log.read_text()


def test_a_websocket_is_not_opened(connection: Connection) -> None:
    """The request is answered as plain HTTP, so that the bounds of connections hold for what follows."""
    upgrade = ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg=="]
    lines = ["GET /v1/models/echo HTTP/1.1", "Host: echo", *upgrade, "Sec-WebSocket-Version: 13", "", ""]
    connection.send("\r\n".join(lines).encode())

    assert connection.answer()[0] == 200
