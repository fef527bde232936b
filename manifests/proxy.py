"""A stand-in for a Kubernetes Service: a TCP proxy that balances connections over the ready replicas of a workload.

As with kube-proxy, connections are distributed round robin and stay with their replica, and connections are reset while
no replica is ready. The port stays open then, so that no other program can take it.
"""

import asyncio
import socket
from collections.abc import Sequence
from contextlib import suppress
from typing import Protocol

from shardline.manifests.processes import HOST

_CHUNK_BYTES = 256 * 1024


class Replica(Protocol):
    @property
    def ready(self) -> bool: ...

    @property
    def port(self) -> int: ...


class ServiceProxy:
    """The proxy of one Service."""

    def __init__(self, listener: socket.socket, replicas: Sequence[Replica]) -> None:
        """`listener` is the Service's listening socket."""
        self._listener = listener
        self._replicas = replicas
        self._next = 0
        self._connections: set[asyncio.Task[None]] = set()

    async def keep_running(self) -> None:
        """Accept connections until cancelled."""
        server = await asyncio.start_server(self._accept, sock=self._listener)
        try:
            await server.serve_forever()
        finally:
            for connection in self._connections:
                connection.cancel()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            await self._forward(reader, writer)
        except asyncio.CancelledError:
            pass  # the proxy is being stopped; a stream's callback must not raise this
        finally:
            self._connections.discard(task)
            writer.close()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        replica = self._choose()
        if replica is None:
            writer.transport.abort()
            return
        with suppress(OSError):
            their_reader, their_writer = await asyncio.open_connection(HOST, replica.port)
            try:
                async with asyncio.TaskGroup() as both:
                    both.create_task(_copy(reader, their_writer))
                    both.create_task(_copy(their_reader, writer))
            finally:
                their_writer.close()

    def _choose(self) -> Replica | None:
        """Choose the next ready replica."""
        for _ in self._replicas:
            self._next = (self._next + 1) % len(self._replicas)
            if self._replicas[self._next].ready:
                return self._replicas[self._next]
        return None


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copy one direction and pass its end on; a broken connection counts as an end."""
    with suppress(OSError):
        while data := await reader.read(_CHUNK_BYTES):
            writer.write(data)
            await writer.drain()
    with suppress(OSError):
        writer.write_eof()
        await writer.drain()
