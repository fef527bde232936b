"""The local Service: connections in turn to ready replicas, reset when there is none."""

import asyncio
import random
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from shardline.manifests.proxy import ServiceProxy


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
async def serving(*replicas: Replica) -> AsyncIterator[int]:
    """Run the proxy; yields its port."""
    listener = socket.create_server(("127.0.0.1", 0))
    task = asyncio.create_task(ServiceProxy(listener, replicas).keep_running())
    yield listener.getsockname()[1]
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


def test_connections_take_turns_and_carry_any_bytes() -> None:
    body = random.Random(0).randbytes(3_000_000)

    async def scenario() -> list[bytes]:
        async with replica(b"a") as one, replica(b"b") as other, serving(one, other) as port:
            return await asyncio.gather(*(ask(port, body) for _ in range(4)))

    answers = asyncio.run(scenario())

    assert sorted(answer[:1] for answer in answers) == [b"a", b"a", b"b", b"b"]
    assert all(answer[1:] == body for answer in answers)


def test_only_ready_replicas_are_asked_and_without_any_connections_are_reset() -> None:
    async def scenario() -> None:
        async with replica(b"a") as one, replica(b"b") as other, serving(one, other) as port:
            one.ready = False
            assert {await ask(port, b"") for _ in range(4)} == {b"b"}

            other.ready = False
            with pytest.raises(ConnectionResetError):
                await ask(port, b"x")

            one.ready = True
            assert await ask(port, b"") == b"a"

    asyncio.run(scenario())


def test_a_connection_to_a_replica_that_is_gone_is_closed(free_port: Any) -> None:
    async def scenario() -> bytes:
        async with serving(Replica(free_port())) as port:
            return await ask(port, b"")

    assert asyncio.run(scenario()) == b""
