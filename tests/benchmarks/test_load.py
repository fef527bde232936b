"""The load's clients against a real server that has one slow moment."""

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from benchmarks.load import Load, LoadProcess, LoadResult, LoadTarget, run, top_class
from benchmarks.processes import ProcessTree, free_port, is_open

SERVER = Path(__file__).parents[1] / "services" / "stalling_server.py"
STALL_S = 0.6
RATE_RPS = 50.0


@contextmanager
def serving(folder: Path, *, stall_at: int = 0, bodies: tuple[str, ...] = ("7", "8")) -> Iterator[LoadTarget]:
    port = free_port()
    tree = ProcessTree(
        "server", [sys.executable, str(SERVER), str(port), str(stall_at), str(STALL_S)], folder / "server.log"
    )
    try:
        tree.wait_until(lambda: is_open(port), 60)
        files = []
        for index, body in enumerate(bodies):
            (path := folder / str(index)).write_text(body)
            files.append(str(path))
        yield LoadTarget(
            url=f"http://127.0.0.1:{port}/",
            content_type="text/plain",
            bodies=tuple(files),
            expected=(7, 8)[: len(bodies)],
            answer=("index",),
        )
    finally:
        tree.kill()


def asked(target: LoadTarget, load: Load) -> LoadResult:
    return asyncio.run(run(target, load))


def test_open_loop_counts_a_stall_for_all_who_came_meanwhile(tmp_path: Path) -> None:
    """Requests that were due in the first half of the stall waited at least the other half."""
    with serving(tmp_path, stall_at=10) as target:
        result = asked(target, Load(seconds=1.5, rate_rps=RATE_RPS))

    waited = [latency for latency in result.latencies_ms if latency >= STALL_S / 2 * 1000]
    assert len(waited) >= RATE_RPS * STALL_S / 2 - 1
    assert len(result.latencies_ms) == RATE_RPS * 1.5
    assert (result.errors, result.wrong) == (0, 0)


def test_closed_loop_asks_nothing_during_a_stall(tmp_path: Path) -> None:
    """One client meets a stall once, however long it is: latencies of a closed loop hardly show stalls."""
    with serving(tmp_path, stall_at=10) as target:
        result = asked(target, Load(seconds=1.0, clients=1))

    assert max(result.latencies_ms) >= STALL_S * 1000
    assert result.seconds >= 1.0
    assert result.rps == pytest.approx(len(result.latencies_ms) / result.seconds)


def test_wrong_replies_and_failures_have_no_latency(tmp_path: Path) -> None:
    with serving(tmp_path, bodies=("8",)) as target:
        wrong = asked(target, Load(seconds=0.2))
    with serving(tmp_path, bodies=("fail",)) as target:
        failed = asked(target, Load(seconds=0.2))

    assert wrong.wrong > 0
    assert wrong.latencies_ms == ()
    assert "class 8, the whole model predicts 7" in wrong.faults[0]
    assert failed.errors > 0
    assert failed.faults[0] == "500: no"


def test_nobody_there_is_an_error(tmp_path: Path) -> None:
    (body := tmp_path / "body").write_text("7")
    target = LoadTarget(
        url=f"http://127.0.0.1:{free_port()}/",
        content_type="text/plain",
        bodies=(str(body),),
        expected=(7,),
        answer=("index",),
    )

    assert asked(target, Load(seconds=0.05)).errors > 0


def test_its_own_process_gives_the_same(tmp_path: Path) -> None:
    with serving(tmp_path) as target:
        client = LoadProcess(tmp_path / "load.log")
        first, second = (client.run(target, Load(seconds=0.2, clients=2)) for _ in range(2))
        client.close()

    assert first.latencies_ms
    assert second.latencies_ms
    assert first.client_cpu_s > 0


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (b'{"predictions": [{"index": 3}]}', 3),
        (b'{"predictions": []}', None),
        (b'{"predictions": 3}', None),
        (b'{"index": 3}', None),
        (b"\xff", None),
    ],
)
def test_top_class(body: bytes, found: int | None) -> None:
    assert top_class(body, ("predictions", 0, "index")) == found
