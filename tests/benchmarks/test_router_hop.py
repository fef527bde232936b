"""The server that responds with the bytes of the request, and the graph whose steps end in it."""

import sys
from pathlib import Path

from benchmarks.bundles import ROOT
from benchmarks.processes import ProcessTree, free_port, is_open
from benchmarks.router_hop import STEPS, graph
from benchmarks.stage import KeptConnection


def test_the_server_responds_with_the_body(tmp_path: Path) -> None:
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.router_hop", "--echo", str(port)]
    tree = ProcessTree("echo", command, tmp_path / "log", cwd=ROOT)
    try:
        tree.wait_until(lambda: is_open(port), 60)
        connection = KeptConnection(port, "/any/path")

        assert [connection.post(body) for body in (b"{}", b"x" * 2_000_000)] == [b"{}", b"x" * 2_000_000]
        connection.close()
    finally:
        tree.kill()


def test_later_steps_take_the_response_of_the_step_before() -> None:
    nodes = graph(8080)["nodes"]
    assert isinstance(nodes, dict)
    steps = nodes["root"]["steps"]

    assert len(steps) == STEPS
    assert [step.get("data") for step in steps] == [None] + ["$response"] * (STEPS - 1)
    assert {step["serviceUrl"] for step in steps} == {"http://127.0.0.1:8080/"}
