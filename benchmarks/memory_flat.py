"""Memory growth of each process over 10,000 requests: `python -m benchmarks.memory_flat [--requests 10000]`.

What: a chain of three stages that transfer 3.1 MiB and compute almost nothing, with transformer and router, run by
`shardline up`, with requests from four clients. The resident memory of each process is read after a tenth of the
requests and after all of them.

Why: a server that grows by a kilobyte per request is out of memory within a week.

Ceiling: no growth; a few MiB belong to the allocator.

The last line is one JSON object; `growth_mib` is the largest growth of a process.
"""

import sys
from argparse import ArgumentParser
from pathlib import Path

from benchmarks.load import Load, LoadProcess, top_class
from benchmarks.pictures import CheckedPictures, write_jpegs
from benchmarks.processes import UnavailableError, run_benchmark
from benchmarks.stage import KeptConnection, build_wide
from benchmarks.systems.base import ANSWER
from benchmarks.systems.shardline import ShardlineChain

_CLIENTS = 4
_SECONDS = 5.0  # from one count of the responses to the next


def main() -> int:
    parser = ArgumentParser(description="Measure the memory growth of each process.")
    parser.add_argument("--requests", type=int, default=10_000, help="Number of requests")
    requests = parser.parse_args().requests
    return run_benchmark(lambda folder: measure(folder, requests))


def measure(folder: Path, requests: int) -> dict[str, object]:
    (folder / "pictures").mkdir()
    files = write_jpegs(folder / "pictures")
    client = LoadProcess(folder / "load.log")
    unchecked = CheckedPictures(files=tuple(files), classes=(0,) * len(files))
    chain = ShardlineChain(key="wide", pictures=unchecked, client=client, bundle=build_wide(folder / "wide"))
    chain.start(folder)
    _learn_classes(chain)
    _send(chain, requests // 10)
    before = _by_name(chain)
    _send(chain, requests - requests // 10)
    after = _by_name(chain)
    chain.stop()
    grown = [late - early for name in after for early, late in zip(before[name], after[name], strict=True)]
    return {
        "benchmark": "memory_flat",
        "requests": requests,
        "growth_mib": round(max(grown), 1),
        "before_mib": before,
        "after_mib": after,
    }


def _learn_classes(chain: ShardlineChain) -> None:
    """Expect the classes of the first replies from all later ones."""
    assert chain.target is not None
    port, path = chain.target.url.removeprefix("http://127.0.0.1:").split("/", 1)
    connection = KeptConnection(int(port), f"/{path}")
    classes = [top_class(connection.post(file.read_bytes()), ANSWER) for file in chain.pictures.files]
    connection.close()
    chain.expect(tuple(-1 if found is None else found for found in classes))


def _send(chain: ShardlineChain, requests: int) -> None:
    assert chain.target is not None
    answered = 0
    while answered < requests:
        result = chain.client.run(chain.target, Load(clients=_CLIENTS, seconds=_SECONDS))
        if result.errors or result.wrong or not result.latencies_ms:
            raise UnavailableError(f"the chain failed: {'; '.join(result.faults)}")
        answered += len(result.latencies_ms)


def _by_name(chain: ShardlineChain) -> dict[str, list[float]]:
    """Resident MiB by role; processes of one role are in the order in which they were started."""
    found: dict[str, list[float]] = {}
    for memory in chain.memory():
        found.setdefault(memory.name, []).append(round(memory.rss_mib, 1))
    return found


if __name__ == "__main__":
    sys.exit(main())
