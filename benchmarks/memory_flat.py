"""Is memory flat over 10,000 requests? `python -m benchmarks.memory_flat [--requests 10000]`.

What: a chain of three stages that pass 3.2 MB on and compute next to nothing, with transformer and router, run by
`shardline up` and asked by four clients. Each process' resident MiB after a tenth of the requests and after all.

Why: a server that grows by a kilobyte a request is out of memory within a week.

The ceiling: no growth; a few MiB are the allocator's.

The last line is one JSON object; `growth_mib` is the most that any process grew.
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
_SECONDS = 5.0  # between two looks at how many are answered


def main() -> int:
    parser = ArgumentParser(description="Measure whether memory is flat.")
    parser.add_argument("--requests", type=int, default=10_000)
    requests = parser.parse_args().requests
    return run_benchmark(lambda folder: measure(folder, requests))


def measure(folder: Path, requests: int) -> dict[str, object]:
    (folder / "pictures").mkdir()
    files = write_jpegs(folder / "pictures")
    client = LoadProcess(folder / "load.log")
    nothing = CheckedPictures(files=tuple(files), classes=(0,) * len(files))
    chain = ShardlineChain(key="wide", pictures=nothing, client=client, bundle=build_wide(folder / "wide"))
    chain.start(folder)
    _learn_classes(chain)
    _ask(chain, requests // 10)
    before = _by_name(chain)
    _ask(chain, requests - requests // 10)
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
    """What it says once is what it must say always."""
    assert chain.target is not None
    port, path = chain.target.url.removeprefix("http://127.0.0.1:").split("/", 1)
    asker = KeptConnection(int(port), f"/{path}")
    classes = [top_class(asker.ask(file.read_bytes()), ANSWER) for file in chain.pictures.files]
    asker.close()
    chain.expect(tuple(-1 if each is None else each for each in classes))


def _ask(chain: ShardlineChain, requests: int) -> None:
    assert chain.target is not None
    answered = 0
    while answered < requests:
        result = chain.client.run(chain.target, Load(clients=_CLIENTS, seconds=_SECONDS))
        if result.errors or result.wrong or not result.latencies_ms:
            raise UnavailableError(f"the chain failed: {'; '.join(result.faults)}")
        answered += len(result.latencies_ms)


def _by_name(chain: ShardlineChain) -> dict[str, list[float]]:
    """Each kind of process' resident MiB; those of one kind stay in the order in which they were started."""
    found: dict[str, list[float]] = {}
    for each in chain.memory():
        found.setdefault(each.name, []).append(round(each.rss_mib, 1))
    return found


if __name__ == "__main__":
    sys.exit(main())
