"""One hostile client with many connections, as a process: `python -m benchmarks.attack.client KIND PORT PATH`.

It attacks for `--seconds`, prints one JSON object with the bytes that it sent, and reads no more than an attack needs.
"""

import asyncio
import io
import json
import socket
import struct
import sys
from argparse import ArgumentParser
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

from PIL import Image

from shardline.wire.limits import BODY_BYTES

HOST = "127.0.0.1"
_CHUNK = bytes(256 * 1024)


class HostileConnection:
    """One connection to the server, which is opened again whenever the server closed it."""

    def __init__(self, port: int, path: str, good: bytes) -> None:
        self.good = good  # the body of a request that the server accepts
        self.sent = 0
        self._port = port
        self._path = path
        self._socket: socket.socket

    def head(self, *headers: str, size: int | None = None) -> bytes:
        length = [] if size is None else [f"Content-Length: {size}"]
        return "\r\n".join([f"POST {self._path} HTTP/1.1", f"Host: {HOST}", *length, *headers, "", ""]).encode()

    def request(self, body: bytes) -> bytes:
        return self.head(size=len(body)) + body

    async def keep_on(self, attack: "Attack") -> None:
        loop = asyncio.get_running_loop()
        while True:
            with suppress(OSError), socket.socket() as self._socket:
                self._socket.setblocking(False)
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                await loop.sock_connect(self._socket, (HOST, self._port))
                await attack(self)
            await asyncio.sleep(0.05)

    async def send(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self._socket, data)
        self.sent += len(data)

    async def read(self) -> bytes:
        return await asyncio.get_running_loop().sock_recv(self._socket, 65536)

    async def until_closed(self) -> None:
        """Read until the server closes the connection."""
        while await self.read():
            pass

    def half_close(self) -> None:
        self._socket.shutdown(socket.SHUT_WR)


Attack = Callable[[HostileConnection], Awaitable[None]]


async def endless_body(connection: HostileConnection) -> None:
    """Announce the largest body and send all of it but the last byte."""
    await connection.send(connection.head(size=BODY_BYTES))
    for _ in range(BODY_BYTES // len(_CHUNK) - 1):
        await connection.send(_CHUNK)
    await connection.send(_CHUNK[:-1])
    await connection.until_closed()


async def endless_chunks(connection: HostileConnection) -> None:
    """Send chunks of a body without an end."""
    await connection.send(connection.head("Transfer-Encoding: chunked"))
    while True:
        await connection.send(b"%x\r\n" % len(_CHUNK) + _CHUNK + b"\r\n")


async def big_headers(connection: HostileConnection) -> None:
    """Send one header without an end."""
    await connection.send(b"POST / HTTP/1.1\r\nHost: a\r\nX: ")
    while True:
        await connection.send(b"x" * 65536)


async def slow_headers(connection: HostileConnection) -> None:
    """Send 60 KiB of headers and then nothing."""
    await connection.send(connection.head(*(f"X-{number}: {'x' * 1000}" for number in range(60)))[:-2])
    await connection.until_closed()


async def big_json(connection: HostileConnection) -> None:
    """Send 32 MB of JSON with millions of values."""
    body = b'{"instances":[' + b"[]," * (BODY_BYTES // 3 - 10) + b"[]]}"
    await connection.send(connection.request(body))
    await connection.read()


async def refused_pictures(connection: HostileConnection) -> None:
    """Send pictures of 400 bytes that would take a gigabyte to decode."""
    await connection.send(connection.request(thin_tiff()))
    await connection.read()


async def large_pictures(connection: HostileConnection) -> None:
    """Send pictures of the largest size that is allowed."""
    await connection.send(connection.request(large_png()))
    await connection.read()


async def slow_reader(connection: HostileConnection) -> None:
    """Send requests one behind the other and read no reply."""
    while True:
        await connection.send(connection.request(connection.good))


async def pipelining(connection: HostileConnection) -> None:
    """Send 200 requests at once and read the replies."""
    await connection.send(connection.request(connection.good) * 200)
    await connection.until_closed()


async def half_close(connection: HostileConnection) -> None:
    """Send one request, close this side, and do not read for two seconds."""
    await connection.send(connection.request(connection.good))
    connection.half_close()
    await asyncio.sleep(2)


async def good_flood(connection: HostileConnection) -> None:
    """Send good requests as fast as replies come."""
    while True:
        await connection.send(connection.request(connection.good))
        if not await connection.read():
            return


ATTACKS: dict[str, Attack] = {
    attack.__name__.replace("_", "-"): attack
    for attack in (
        endless_body,
        endless_chunks,
        big_headers,
        slow_headers,
        big_json,
        refused_pictures,
        large_pictures,
        slow_reader,
        pipelining,
        half_close,
        good_flood,
    )
}

_LARGE: list[bytes] = []


def large_png() -> bytes:
    """A grey PNG of 49 megapixels, some 50 KB."""
    if not _LARGE:
        with io.BytesIO() as file:
            Image.new("L", (7000, 7000)).save(file, "PNG")
            _LARGE.append(file.getvalue())
    return _LARGE[0]


def thin_tiff() -> bytes:
    """A TIFF of 1 x 49,999,999 pixels in LZW, with one strip of noise."""
    noise = bytes([0x55, 0xAA, 0x13, 0x37] * 64)
    start = 8 + 2 + 9 * 12 + 4
    entries = [(256, 1), (257, 49_999_999), (258, 8), (259, 5), (262, 1), (273, start), (277, 1), (278, 2**31 - 1)]
    entries.append((279, len(noise)))
    table = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries)
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + table + struct.pack("<I", 0) + noise


async def attack(kind: str, port: int, path: str, good: bytes, connections: int, seconds: float) -> int:
    """Attack for so many seconds; returns the bytes sent."""
    hostile = [HostileConnection(port, path, good) for _ in range(connections)]
    tasks = [asyncio.create_task(connection.keep_on(ATTACKS[kind])) for connection in hostile]
    await asyncio.wait(tasks, timeout=seconds)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return sum(connection.sent for connection in hostile)


def main() -> int:
    parser = ArgumentParser(description="Attack one server with many connections.")
    parser.add_argument("kind", choices=sorted(ATTACKS), help="Kind of the attack")
    parser.add_argument("port", type=int, help="Port of the server on this machine")
    parser.add_argument("path", help="Path of the requests")
    parser.add_argument("--good", type=Path, required=True, help="File with the body of a request that is accepted")
    parser.add_argument("--connections", type=int, default=100, help="Number of connections")
    parser.add_argument("--seconds", type=float, default=8, help="Duration in seconds")
    options = parser.parse_args()
    good = options.good.read_bytes()
    sent = asyncio.run(attack(options.kind, options.port, options.path, good, options.connections, options.seconds))
    print(json.dumps({"sent_bytes": sent}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
