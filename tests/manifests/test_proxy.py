"""The local Service: connections in turn to ready replicas, refused when there is none."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from shardline.manifests.proxy import ServiceProxy

DEADLINE_S = 10


@dataclass(slots=True)
class Replica:
    port: int
    ready: bool = True


@asynccontextmanager
async def replica(name: bytes) -> AsyncIterator[Replica]:
    """Answers `name` and what it was sent, once the sender has said that there is no more."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(name + await reader.read())
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield Replica(server.sockets[0].getsockname()[1])


@asynccontextmanager
async def serving(port: int, *replicas: Replica) -> AsyncIterator[ServiceProxy]:
    service = ServiceProxy(port, replicas)
    task = asyncio.create_task(service.keep_running())
    yield service
    task.cancel()
    await asyncio.wait({task})


async def ask(port: int, body: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(body)
        writer.write_eof()
        return await reader.read()
    finally:
        writer.close()
        await writer.wait_closed()


async def eventually(port: int, *, listens: bool) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while await _listens(port) != listens:
            await asyncio.sleep(0.01)


async def _listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    await writer.wait_closed()
    return True


def test_connections_take_turns_and_carry_any_bytes(free_port: Any) -> None:
    body = random.Random(0).randbytes(3_000_000)

    async def scenario() -> list[bytes]:
        port = free_port()
        async with replica(b"a") as one, replica(b"b") as other, serving(port, one, other):
            await eventually(port, listens=True)
            return await asyncio.gather(*(ask(port, body) for _ in range(4)))

    answers = asyncio.run(scenario())

    assert sorted(answer[:1] for answer in answers) == [b"a", b"a", b"b", b"b"]
    assert all(answer[1:] == body for answer in answers)


def test_only_ready_replicas_are_asked_and_without_any_connections_are_refused(free_port: Any) -> None:
    async def scenario() -> None:
        port = free_port()
        async with replica(b"a") as one, replica(b"b") as other, serving(port, one, other) as service:
            await eventually(port, listens=True)
            one.ready = False
            service.update()
            assert {await ask(port, b"") for _ in range(4)} == {b"b"}

            other.ready = False
            service.update()
            await eventually(port, listens=False)
            with pytest.raises(ConnectionRefusedError):
                await ask(port, b"")

            one.ready = True
            service.update()
            await eventually(port, listens=True)
            assert await ask(port, b"") == b"a"

    asyncio.run(scenario())


def test_a_connection_to_a_replica_that_is_gone_is_closed(free_port: Any) -> None:
    async def scenario() -> bytes:
        port = free_port()
        async with serving(port, Replica(free_port())):
            await eventually(port, listens=True)
            return await ask(port, b"")

    assert asyncio.run(scenario()) == b""
