"""A chain for half an hour at 70 % of its capacity: `python -m benchmarks.soak [--minutes 30] [--requests 1000000]`.

What: a chain of three small stages under `shardline up`, with small requests at a fixed rate; every second request is
on a connection of its own. In each of 30 windows the resident memory of each process and the p99 of the latencies are
taken, and a straight line is fitted to each. Every reply is compared to the bit with the whole model's.

Why: what grows by a little with each request or connection ends a server after a week.

Ceiling: slopes whose 95 % interval includes 0, or that are below 1 MiB and 1 ms in an hour.

The last line is one JSON object: for each series its first and last value, and its slope in an hour with the interval.
"""

import asyncio
import json
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import NormalDist
from tempfile import TemporaryDirectory

import numpy as np
import psutil

from benchmarks.bundles import ensure
from benchmarks.chaos.__main__ import SPEC
from benchmarks.chaos.chain import DEADLINE_S, ChaosChain
from benchmarks.chaos.replies import CheckedClients, check_pictures
from benchmarks.processes import UnavailableError, ending_all
from shardline.wire.errors import ShardlineError
from shardline.wire.limits import MIB

WINDOWS = 30
LOAD = 0.7
_CLIENTS = 4
_HOUR_S = 3600.0
_SIGNIFICANCE = NormalDist().inv_cdf(0.975)


@dataclass(frozen=True, slots=True, kw_only=True)
class Slope:
    """Straight line through a series: first and last value, and change in an hour with its 95 % interval."""

    series: str
    first: float
    last: float
    an_hour: float
    low: float
    high: float


def slope(series: str, times_s: Sequence[float], values: Sequence[float]) -> Slope:
    """Fit a line by least squares; the interval takes the residuals for independent and normal."""
    x, y = np.asarray(times_s), np.asarray(values)
    centred = x - x.mean()
    spread = float((centred**2).sum())
    rise = float((centred * y).sum()) / spread
    residuals = y - y.mean() - rise * centred
    error = float(np.sqrt((residuals**2).sum() / max(1, len(y) - 2) / spread)) * _SIGNIFICANCE
    low, middle, high = (round(_HOUR_S * value, 2) for value in (rise - error, rise, rise + error))
    return Slope(
        series=series, first=round(values[0], 2), last=round(values[-1], 2), an_hour=middle, low=low, high=high
    )


def is_flat(found: Slope) -> bool:
    """Tell whether a series stays level: its interval includes 0, it falls, or it rises by less than 1 in an hour."""
    return found.low <= 0 or found.an_hour < 1


class Soak:
    """Requests at a fixed rate, and what they and the processes cost in each window."""

    def __init__(self, chain: ChaosChain, clients: CheckedClients) -> None:
        self._chain = chain
        self._clients = clients
        self._latencies_ms: list[float] = []
        self.times_s: list[float] = []
        self.series: dict[str, list[float]] = {}

    async def capacity_rps(self, seconds: float) -> float:
        """Send requests from four clients as fast as replies come; returns right replies a second."""
        stop = asyncio.Event()
        start, before = time.monotonic(), self._clients.total["right"]
        tasks = [asyncio.create_task(self._clients.keep_sending(stop)) for _ in range(_CLIENTS)]
        await asyncio.sleep(seconds)
        stop.set()
        await asyncio.gather(*tasks)
        return (self._clients.total["right"] - before) / (time.monotonic() - start)

    async def run(self, rate_rps: float, seconds: float) -> int:
        """Send requests at a rate for so long; returns their number."""
        start = time.monotonic()
        count = max(WINDOWS, round(rate_rps * seconds))
        async with asyncio.TaskGroup() as group:
            for number in range(count):
                due = start + number / rate_rps
                await asyncio.sleep(due - time.monotonic())
                group.create_task(self._send(due))
                if (number + 1) % (count // WINDOWS) == 0:
                    self._end_window(time.monotonic() - start)
        return count

    async def _send(self, due: float) -> None:
        if await self._clients.send() == "right":
            self._latencies_ms.append((time.monotonic() - due) * 1000)

    def _end_window(self, at_s: float) -> None:
        if not self._latencies_ms:
            return
        self.times_s.append(at_s)
        self._add("p99 ms", float(np.percentile(self._latencies_ms, 99)))
        self._latencies_ms = []
        for role, victim in self._chain.victims().items():
            self._add(f"{role} MiB", victim.process.memory_info().rss / MIB)

    def _add(self, name: str, value: float) -> None:
        self.series.setdefault(name, []).append(value)

    def slopes(self) -> list[Slope]:
        """Slopes behind the first fifth of the windows, in which caches fill and allocators reach their size."""
        skipped = len(self.times_s) // 5
        return [slope(name, self.times_s[skipped:], values[skipped:]) for name, values in self.series.items()]


async def _measure(options: Namespace, folder: Path) -> dict[str, object]:
    bundle = options.bundle or await asyncio.to_thread(ensure, SPEC, lambda text: print(text, file=sys.stderr))
    pictures = check_pictures(bundle, 0)
    chain = ChaosChain(bundle, folder / "chain", short=False)
    with (folder / "requests.jsonl").open("w") as log:
        async with CheckedClients(pictures, DEADLINE_S, log, new_connections=2) as clients:
            await asyncio.to_thread(chain.start)
            try:
                clients.url, clients.names = chain.url, chain.names()
                soak = Soak(chain, clients)
                capacity = await soak.capacity_rps(min(10.0, 6 * options.minutes))
                seconds = options.requests / (LOAD * capacity) if options.requests else 60 * options.minutes
                count = await soak.run(LOAD * capacity, seconds)
            except psutil.Error as exc:
                raise UnavailableError(f"a process of the chain ended ({exc})") from exc
            finally:
                await asyncio.to_thread(chain.stop)
    slopes = soak.slopes()
    faulty = {verdict: number for verdict, number in clients.total.items() if verdict != "right"}
    return {
        "benchmark": "soak",
        "requests": count,
        "seconds": round(seconds),
        "rate_rps": round(LOAD * capacity, 1),
        "faulty": faulty,
        "slopes": [asdict(found) for found in slopes],
        "good": not faulty and all(map(is_flat, slopes)),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; the exit code is 1 where a reply was wrong or a series grew."""
    parser = ArgumentParser(prog="python -m benchmarks.soak", description="Keep a chain under load and watch it.")
    add = parser.add_argument
    add("--minutes", type=float, default=30, help="Duration in minutes (default: %(default)s)")
    add("--requests", type=int, help="Number of requests in place of a duration, e.g. 1000000 for a night")
    add("--bundle", type=Path, help="Folder of a bundle of three stages (default: SqueezeNet at 64 pixels, built once)")
    options = parser.parse_args(arguments)
    with ending_all(), TemporaryDirectory(prefix="soak-") as folder:
        try:
            document = asyncio.run(_measure(options, Path(folder)))
        except (UnavailableError, ShardlineError) as exc:
            print(f"error: {exc}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            return 130
    print(json.dumps(document))
    return 0 if document["good"] else 1


if __name__ == "__main__":
    sys.exit(main())
