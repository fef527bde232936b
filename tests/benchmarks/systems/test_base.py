"""An HTTP system under several loads, with a client whose results are given."""

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest

from benchmarks.load import Load, LoadProcess, LoadResult, LoadTarget
from benchmarks.pictures import CheckedPictures
from benchmarks.processes import ProcessTree, UnavailableError, WrongReplyError
from benchmarks.systems.base import HttpSystem, graph_json

TARGET = LoadTarget(url="http://127.0.0.1:9", content_type="x/y", bodies=(), expected=(1,), answer=("index",))


def result(rps: float, **changes: Any) -> LoadResult:
    fields: dict[str, Any] = {"errors": 0, "wrong": 0, "faults": (), "client_cpu_s": 0.0, "seconds": 1.0}
    return LoadResult(latencies_ms=(10.0,) * round(rps), **{**fields, **changes})


@dataclass
class GivenResults:
    """A load generator that has the results in a list."""

    results: list[LoadResult]
    loads: list[Load] = field(default_factory=list)

    def run(self, _target: LoadTarget, load: Load) -> LoadResult:
        self.loads.append(load)
        return self.results[len(self.loads) - 1]


def system(*results: LoadResult) -> HttpSystem:
    client = cast("LoadProcess", GivenResults(list(results)))
    return HttpSystem(key="it", pictures=CheckedPictures(files=(), classes=()), client=client, target=TARGET)


def test_a_rate_that_is_not_reached_has_no_latency() -> None:
    loads = [Load(clients=8, seconds=1.0), Load(rate_rps=30.0, seconds=1.0)]
    closed, opened = system(result(5), result(20)).measure(loads, 0, warm_s=0.1)

    assert (closed.rps, closed.p50_ms) == (20, 10)
    assert (opened.rps, opened.p50_ms, opened.note) == (20, None, "does not reach 30 requests/s")


def test_a_rate_that_is_reached_is_measured() -> None:
    loads = [Load(clients=8, seconds=1.0), Load(rate_rps=10.0, seconds=1.0)]
    _, opened = system(result(5), result(20), result(10)).measure(loads, 0, warm_s=0.1)

    assert (opened.load, opened.rps, opened.p50_ms) == ("open", 10, 10)


def test_wrong_replies_and_silence_end_the_measurement() -> None:
    with pytest.raises(WrongReplyError, match="it: 2 wrong replies: class 3"):
        system(result(5, wrong=2, faults=("class 3",))).measure([], 0, warm_s=0.1)
    with pytest.raises(UnavailableError, match="it gave no reply: no reply in time"):
        system(result(0)).measure([], 0, warm_s=0.1)


def test_expected_classes_can_be_changed() -> None:
    changed = system()
    changed.expect((4, 2))

    assert changed.target is not None
    assert changed.target.expected == (4, 2)


def test_the_graph_of_a_running_router(tmp_path: Path) -> None:
    graph = json.dumps({"nodes": {}})
    code = "import time; print('here', flush=True); time.sleep(600)"
    words = [sys.executable, "-c", code, "shardline.manifests.router", "--graph-json", graph]
    router = ProcessTree("router", words, tmp_path / "router.log")
    other = ProcessTree("other", words[:3], tmp_path / "other.log")
    try:
        for tree in (router, other):
            tree.wait_until(lambda tree=tree: "here" in tree.printed(), 30)  # type: ignore[misc]  # bound to this tree

        assert graph_json(router) == graph
        assert graph_json(other) is None
    finally:
        router.kill()
        other.kill()
