"""Verdicts about replies: right to the bit, an error that names a server, or a fault of the chain."""

import asyncio
import io
import json
from collections.abc import Callable

import pytest
from services.processes import free_port
from services.steps import Steps

from benchmarks.chaos.replies import CheckedClients, CheckedPicture, Verdict

REPLY = b'{"predictions": [1.0]}'
GONE = b'{"error": "Failed", "cause": "Post \\"http://127.0.0.1:7/v1/models/net-1:predict\\": EOF"}'


def verdict(url: str, *, away: bool = False, deadline_s: float = 10.0) -> tuple[Verdict, dict[str, object]]:
    """The verdict about one request, and its line in the log."""

    async def run() -> Verdict:
        async with CheckedClients([CheckedPicture(data=b"x", reply=REPLY)], deadline_s, log) as clients:
            clients.url, clients.names, clients.router_away = url, ("net-0", "net-1"), away
            found = await clients.send()
            assert clients.total == clients.take_counts() == {found: 1}
            assert not clients.take_counts()
            return found

    log = io.StringIO()
    return asyncio.run(run()), json.loads(log.getvalue())


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (200, REPLY, "right"),
        (200, REPLY + b" ", "wrong"),
        (500, GONE, "error"),
        (500, b'{"cause": "unexpected EOF"}', "error"),
        (500, b"oops", "nameless"),
    ],
)
def test_replies(status: int, body: bytes, expected: Verdict) -> None:
    steps = Steps()
    try:
        found, line = verdict(steps.says(body, status).url)
    finally:
        steps.stop()

    assert found == line["verdict"] == expected
    assert line.get("reply") == (None if expected == "right" else body.decode())


@pytest.mark.parametrize(("away", "expected"), [(True, "refused"), (False, "nameless")])
def test_no_server(away: bool, expected: Verdict) -> None:
    assert verdict(f"http://127.0.0.1:{free_port()}/", away=away)[0] == expected


@pytest.mark.parametrize(("away", "expected"), [(True, "silent"), (False, "hung")])
def test_no_reply(away: bool, expected: Verdict) -> None:
    async def is_silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.read(65536):
                pass
        finally:
            writer.close()

    async def run(port: int, ask: Callable[[str], tuple[Verdict, dict[str, object]]]) -> Verdict:
        async with await asyncio.start_server(is_silent, "127.0.0.1", port):
            return (await asyncio.to_thread(ask, f"http://127.0.0.1:{port}/"))[0]

    assert asyncio.run(run(free_port(), lambda url: verdict(url, away=away, deadline_s=0.2))) == expected
