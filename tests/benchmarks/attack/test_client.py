"""Attacks of one client: every kind sends, and what it sends is what it says."""

import asyncio
import io
from contextlib import suppress

import pytest
from PIL import Image

from benchmarks.attack.client import ATTACKS, attack, large_png, thin_tiff
from shardline.predictors.picture import fit_picture
from shardline.storage.bundle import PictureSpec
from shardline.wire.errors import PictureError
from shardline.wire.limits import Limits

REPLY = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


@pytest.mark.parametrize("kind", ["slow-headers", "endless-chunks", "good-flood", "half-close", "pipelining"])
def test_each_kind_opens_connections_and_sends(kind: str) -> None:
    ports, handlers = set(), list[asyncio.Task[None] | None]()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ports.add(writer.get_extra_info("peername")[1])
        handlers.append(asyncio.current_task())
        with suppress(ConnectionError):
            while data := await reader.read(65536):
                if b"good" in data:
                    writer.write(REPLY)
        writer.close()

    async def run() -> int:
        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            sent = await attack(kind, port, "/x", b"good", 5, 0.3)
            await asyncio.gather(*(task for task in handlers if task is not None))
            return sent

    assert asyncio.run(run()) > 0
    assert len(ports) >= 5


def test_pictures() -> None:
    spec, limits = PictureSpec(height=8, width=8), Limits()

    with pytest.raises(PictureError, match="allowed are 65535 a side"):
        fit_picture(thin_tiff(), spec, limits)
    with Image.open(io.BytesIO(large_png())) as image:
        assert image.width * image.height < limits.pixels
    assert set(ATTACKS) >= {"endless-body", "big-json", "slow-reader"}
