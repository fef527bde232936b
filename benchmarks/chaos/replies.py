"""Clients of a chain under faults: each reply is compared to the bit with the whole model's, and logged."""

import asyncio
import io
import json
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TextIO

import aiohttp
import numpy as np
import torch
from PIL import Image

from shardline.partition.verify import LocalChain
from shardline.predictors.picture import pixel_batch
from shardline.tasks.registry import task_reply
from shardline.tasks.request import Request

Verdict = Literal["right", "error", "refused", "silent", "wrong", "nameless", "hung"]
"""Verdict about a request.

    right     200, and the bytes of the whole model's reply
    error     a status of 400 or more, with a text that names a server
    refused   the router's port was closed, or closed the connection: allowed while the router itself is away
    silent    no reply within the deadline: allowed while the router itself is stopped or its port is taken
    wrong     200, and other bytes
    nameless  an error that names no server
    hung      no reply within the deadline, although the router runs
"""
FAULTY: tuple[Verdict, ...] = ("wrong", "nameless", "hung")
_PAUSE_S = 0.05  # after a request that failed, so that a chain that is down is not asked thousands of times
_PICTURES = 16
_KSERVE_EOF = "unexpected EOF"  # KServe's router, and so the local one, names no step that ends within its reply


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedPicture:
    """A picture file's bytes, and the bytes of the reply that the whole model gives."""

    data: bytes
    reply: bytes


def check_pictures(bundle: Path, seed: int) -> list[CheckedPicture]:
    """Draw small pictures from a seed and compute the whole model's reply to each, with one thread."""
    torch.set_num_threads(1)
    chain = LocalChain(bundle)
    return [_check(chain, _draw(np.random.default_rng([seed, number]))) for number in range(_PICTURES)]


def _draw(rng: np.random.Generator) -> bytes:
    colours = rng.integers(0, 256, (4, 5, 3), dtype=np.uint8)
    with io.BytesIO() as file:
        Image.fromarray(colours).resize((80, 64), Image.Resampling.BICUBIC).save(file, "PNG")
        return file.getvalue()


def _check(chain: LocalChain, picture: bytes) -> CheckedPicture:
    spec, task = chain.bundle.picture, chain.bundle.task
    outputs = chain.run_reference(pixel_batch([picture], spec, chain.bundle.limits))[-1]
    request = Request(outputs=outputs, labels=task.labels, options=task.options)
    reply = chain.bundle.reply(task_reply(task.name)(request))
    return CheckedPicture(data=picture, reply=json.dumps(reply, allow_nan=False).encode())


class CheckedClients:
    """Clients of one URL, which judge every reply, count the verdicts and log each request in a line of JSON.

    Attributes:
        trial: name of the present trial, for the log.
        counts: verdicts since the last `take_counts`.
        total: verdicts of all requests.
        router_away: True while the fault makes the router unable to reply.
        names: texts of which one must stand in an error: names and addresses of the servers.
    """

    def __init__(
        self, pictures: Sequence[CheckedPicture], deadline_s: float, log: TextIO, *, new_connections: int = 0
    ) -> None:
        """With `new_connections` of n, each n-th request closes its connection."""
        self.url = ""
        self.trial = ""
        self.names: tuple[str, ...] = ()
        self.router_away = False
        self.counts: Counter[Verdict] = Counter()
        self.total: Counter[Verdict] = Counter()
        self._pictures = pictures
        self._deadline_s = deadline_s
        self._log = log
        self._new_connections = new_connections
        self._sent = 0
        self._session: aiohttp.ClientSession

    async def __aenter__(self) -> "CheckedClients":
        timeout = aiohttp.ClientTimeout(total=self._deadline_s)
        self._session = aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(limit=0))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def send(self) -> Verdict:
        """Send the next picture and judge the reply."""
        number = self._sent % len(self._pictures)
        self._sent += 1
        picture, start = self._pictures[number], time.monotonic()
        status, body = 0, b""
        away = self.router_away
        closes = self._new_connections and self._sent % self._new_connections == 0
        headers = {"Connection": "close"} if closes else {}
        try:
            async with self._session.post(self.url, data=picture.data, headers=headers) as response:
                status, body = response.status, await response.read()
            verdict = self._judge(status, body, picture)
        except TimeoutError:
            verdict = "silent" if away or self.router_away else "hung"
        except (aiohttp.ClientError, OSError) as exc:
            body = f"{type(exc).__name__}: {exc}".encode()
            verdict = "refused" if away or self.router_away else "nameless"
        self.counts[verdict] += 1
        self.total[verdict] += 1
        self._write(number, verdict, status, time.monotonic() - start, body)
        return verdict

    def _judge(self, status: int, body: bytes, picture: CheckedPicture) -> Verdict:
        if status == 200:
            return "right" if body == picture.reply else "wrong"
        return "error" if any(name.encode() in body for name in (*self.names, _KSERVE_EOF)) else "nameless"

    def _write(self, picture: int, verdict: Verdict, status: int, seconds: float, body: bytes) -> None:
        """Log a request; a right reply is that of the log's first line."""
        line: dict[str, object] = {"trial": self.trial, "picture": picture, "verdict": verdict}
        line |= {"status": status, "seconds": round(seconds, 4)}
        if verdict != "right":
            line["reply"] = body[:2000].decode(errors="replace")
        self._log.write(json.dumps(line) + "\n")

    async def keep_sending(self, stop: asyncio.Event) -> None:
        """Send one request after the other until `stop` is set."""
        while not stop.is_set():
            if await self.send() != "right":
                await asyncio.sleep(_PAUSE_S)

    def take_counts(self) -> Counter[Verdict]:
        """Return the verdicts since the last call."""
        counts, self.counts = self.counts, Counter()
        return counts
