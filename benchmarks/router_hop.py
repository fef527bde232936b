"""Overhead of one step through the graph's router: `python -m benchmarks.router_hop`.

What: requests to a small server that responds at once with the bytes that it received, directly and through our router
with two steps; the same through KServe's own router where it is on this machine. A hop is the time of one step less
that of a direct request, in wall milliseconds, and the processor milliseconds of the router's process, at 1 KiB and at
3.1 MiB. Direct and routed requests alternate.

Why: a chain of K stages pays for K hops.

Ceiling: 0. Both ways end in the same server, so that all the rest is the router's.

The last line is one JSON object; `router_hop_ms` and `kserve_router_hop_ms` are the hops at 3.1 MiB.
"""

import json
import sys
import time
from pathlib import Path
from statistics import median

from aiohttp import web

from benchmarks.bundles import ROOT
from benchmarks.processes import ProcessTree, UnavailableError, free_port, is_open, run_benchmark
from benchmarks.stage import KeptConnection
from benchmarks.systems.base import our_router
from benchmarks.systems.shardline import KSERVE_ROUTER_PORT, kserve_router
from shardline.wire.limits import MIB

SIZES = {"1kb": 1024, "3mb": 3_211_264}
STEPS = 2
WARM, TURNS = 20, 150
_ECHO = "--echo"  # this module's process is the small server
_MOST_BYTES = 64 * MIB


def main(folder: Path) -> dict[str, object]:
    figures: dict[str, float | None] = {"router_hop_ms": None, "kserve_router_hop_ms": None}
    echo_port = free_port()
    command = [sys.executable, "-m", "benchmarks.router_hop", _ECHO, str(echo_port)]
    echo = ProcessTree("echo", command, folder / "echo.log", cwd=ROOT)
    echo.wait_until(lambda: is_open(echo_port), 30)
    port = free_port()
    figures |= measure("router", our_router(graph(echo_port), port, folder / "router.log"), port, echo_port)
    try:
        figures |= measure("kserve_router", start_kserve_router(echo_port, folder), KSERVE_ROUTER_PORT, echo_port)
    except UnavailableError as exc:
        print(f"KServe's router is left out: {exc}")
    return {"benchmark": "router_hop", **figures}


def graph(echo_port: int) -> dict[str, object]:
    step = {"serviceUrl": f"http://127.0.0.1:{echo_port}/", "dependency": "Hard"}
    steps = [{**step, "name": f"s{index}", **({"data": "$response"} if index else {})} for index in range(STEPS)]
    return {"nodes": {"root": {"routerType": "Sequence", "steps": steps}}}


def start_kserve_router(echo_port: int, folder: Path) -> ProcessTree:
    """
    Raises:
        UnavailableError: it is not installed, or its only port is in use.
    """
    binary = kserve_router()
    if is_open(KSERVE_ROUTER_PORT):
        raise UnavailableError(f"it listens only on port {KSERVE_ROUTER_PORT}, which is in use")
    command = [str(binary), "--graph-json", json.dumps(graph(echo_port))]
    tree = ProcessTree("kserve-router", command, folder / "kserve-router.log")
    tree.wait_until(lambda: is_open(KSERVE_ROUTER_PORT), 30)
    return tree


def measure(name: str, router: ProcessTree, port: int, echo_port: int) -> dict[str, float | None]:
    """Time of one step, which sends a request to the server, less the time of a direct request."""
    figures: dict[str, float | None] = {}
    direct, through = KeptConnection(echo_port, "/"), KeptConnection(port, "/")
    for size_name, size_bytes in SIZES.items():
        body = b"{" + b" " * (size_bytes - 2) + b"}"
        for _ in range(WARM):
            direct.post(body)
            through.post(body)
        directs_ms, throughs_ms, cpu_s = [], [], router.cpu_s()
        for _ in range(TURNS):
            directs_ms.append(_post_ms(direct, body))
            throughs_ms.append(_post_ms(through, body))
        cpu_ms = (router.cpu_s() - cpu_s) * 1000 / TURNS / STEPS
        figures[f"{name}_hop_{size_name}_ms"] = round(median(throughs_ms) / STEPS - median(directs_ms), 3)
        figures[f"{name}_hop_{size_name}_cpu_ms"] = round(cpu_ms, 3)
        figures[f"direct_{size_name}_ms"] = round(median(directs_ms), 3)
    direct.close()
    through.close()
    return figures | {f"{name}_hop_ms": figures[f"{name}_hop_3mb_ms"]}


def _post_ms(connection: KeptConnection, body: bytes) -> float:
    start = time.perf_counter()
    connection.post(body)
    return (time.perf_counter() - start) * 1000


def serve_echo(port: int) -> None:
    """Serve an endpoint that responds to each POST at once with the bytes of its body."""
    app = web.Application(client_max_size=_MOST_BYTES)
    app.router.add_post("/{path:.*}", _echo)
    web.run_app(app, host="127.0.0.1", port=port, print=None, access_log=None)


async def _echo(request: web.Request) -> web.Response:
    return web.Response(body=await request.read(), content_type="application/json")


if __name__ == "__main__":
    if sys.argv[1:2] == [_ECHO]:
        serve_echo(int(sys.argv[2]))
    else:
        sys.exit(run_benchmark(main))
