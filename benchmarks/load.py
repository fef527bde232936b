"""Load generator: a closed loop of clients, or an open loop of arrivals at a fixed rate.

Closed loop: N clients with one persistent connection each; a client sends its next request when it has its reply. This
measures throughput. Its latencies do not show a stall of the server, because no requests are sent meanwhile.

Open loop: arrivals at a fixed rate, independent of replies. A latency counts from the time at which the request was
due, so that waiting for a connection or for a busy client is included (leaving it out is called coordinated omission).

Each reply is compared with the class that the whole model predicts. Percentiles are computed by numpy from all
latencies: a run has thousands of them, which a histogram would round.

    python -m benchmarks.load       # the process of `LoadProcess`: a job as JSON per line in, a result per line out
"""

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import aiohttp

from benchmarks.processes import ProcessTree

_REPLY_S = 120.0
_QUOTED = 3  # wrong replies in a result


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadTarget:
    """Requests to a system and their expected replies.

    Attributes:
        bodies: files with request bodies, one for each picture.
        expected: the class of each picture.
        answer: keys and indexes that lead to the class in the JSON reply.
    """

    url: str
    content_type: str
    bodies: tuple[str, ...]
    expected: tuple[int, ...]
    answer: tuple[str | int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """A closed loop of `clients` for `seconds`, or, with a rate, an open loop with as many clients as needed."""

    seconds: float
    clients: int = 1
    rate_rps: float | None = None

    @property
    def name(self) -> str:
        return f"closed {self.clients}" if self.rate_rps is None else "open"


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadResult:
    """Result of a load.

    Attributes:
        seconds: until the last reply.
        errors: number of failed requests.
        wrong: number of replies with another class.
        faults: the first of both, quoted.
    """

    latencies_ms: tuple[float, ...]
    seconds: float
    errors: int
    wrong: int
    faults: tuple[str, ...]
    client_cpu_s: float

    @property
    def rps(self) -> float:
        return len(self.latencies_ms) / self.seconds if self.seconds else 0.0


@dataclass(slots=True)
class _Log:
    latencies_ms: list[float] = field(default_factory=list)
    errors: int = 0
    wrong: int = 0
    faults: list[str] = field(default_factory=list)

    def fault(self, text: str) -> None:
        if len(self.faults) < _QUOTED:
            self.faults.append(text[:300])


async def run(target: LoadTarget, load: Load) -> LoadResult:
    """Run a load; the pictures are sent in rotation."""
    bodies = [await asyncio.to_thread(Path(path).read_bytes) for path in target.bodies]
    log = _Log()
    cpu_s, start = time.process_time(), time.perf_counter()
    async with _session(target.content_type) as session:
        if load.rate_rps is None:
            await _closed(session, target, bodies, load, log)
        else:
            await _open(session, target, bodies, load.rate_rps, load.seconds, log)
    return LoadResult(
        latencies_ms=tuple(log.latencies_ms),
        seconds=time.perf_counter() - start,
        errors=log.errors,
        wrong=log.wrong,
        faults=tuple(log.faults),
        client_cpu_s=time.process_time() - cpu_s,
    )


@asynccontextmanager
async def _session(content_type: str) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0),
        timeout=aiohttp.ClientTimeout(total=_REPLY_S),
        headers={"content-type": content_type},
        auto_decompress=False,
    ) as session:
        yield session


async def _closed(
    session: aiohttp.ClientSession, target: LoadTarget, bodies: Sequence[bytes], load: Load, log: _Log
) -> None:
    end = time.perf_counter() + load.seconds
    pictures = count()

    async def client() -> None:
        while (due := time.perf_counter()) < end:
            await _send(session, target, bodies, next(pictures), due, log)

    await asyncio.gather(*(client() for _ in range(load.clients)))


async def _open(
    session: aiohttp.ClientSession,
    target: LoadTarget,
    bodies: Sequence[bytes],
    rate_rps: float,
    seconds: float,
    log: _Log,
) -> None:
    start = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for number in range(round(rate_rps * seconds)):
            due = start + number / rate_rps
            await asyncio.sleep(due - time.perf_counter())
            group.create_task(_send(session, target, bodies, number, due, log))


async def _send(
    session: aiohttp.ClientSession, target: LoadTarget, bodies: Sequence[bytes], number: int, due: float, log: _Log
) -> None:
    """Send one request; its latency counts from `due`. A failed request has none, since it may fail fast."""
    picture = number % len(bodies)
    try:
        async with session.post(target.url, data=bodies[picture]) as response:
            body = await response.read()
    except (aiohttp.ClientError, OSError, TimeoutError) as exc:
        log.errors += 1
        log.fault(f"{type(exc).__name__}: {exc}")
        return
    latency_ms = (time.perf_counter() - due) * 1000
    if response.status != 200:
        log.errors += 1
        log.fault(f"{response.status}: {body[:200].decode(errors='replace')}")
    elif (found := top_class(body, target.answer)) != target.expected[picture]:
        log.wrong += 1
        log.fault(f"picture {picture}: class {found}, the whole model predicts {target.expected[picture]}")
    else:
        log.latencies_ms.append(latency_ms)


def top_class(body: bytes, answer: Sequence[str | int]) -> int | None:
    """The class at this path in a JSON reply; None where it has none."""
    try:
        value: Any = json.loads(body)
        for key in answer:
            value = value[key]
        return int(value)
    except (ValueError, KeyError, IndexError, TypeError):
        return None


class LoadProcess:
    """The load generator in a process of its own, so that its processor time is measured separately."""

    def __init__(self, log: Path) -> None:
        self._tree = ProcessTree("load", [sys.executable, "-m", "benchmarks.load"], log, interactive=True)

    def run(self, target: LoadTarget, load: Load) -> LoadResult:
        values = json.loads(self._tree.request(json.dumps({"target": asdict(target), "load": asdict(load)})))
        return LoadResult(**values | {name: tuple(values[name]) for name in ("latencies_ms", "faults")})

    def close(self) -> None:
        self._tree.kill()


def main() -> None:
    for line in sys.stdin:
        job = json.loads(line)
        target, load = LoadTarget(**job["target"]), Load(**job["load"])
        print(json.dumps(asdict(asyncio.run(run(target, load)))), flush=True)


if __name__ == "__main__":
    main()
