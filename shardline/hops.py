"""What a stage costs beside its model, measured here: its server and the router, for small bodies and large ones.

Two shards that pass on what they get run as real servers, behind two real routers: one asks the first, the other the
first and then the second. The second one's part is the difference, so that this client costs nothing; a straight line
is laid through the differences of a few body sizes. It takes some seconds, and is kept for this machine.
"""

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import numpy as np

from shardline.partition.cache import Cache
from shardline.partition.costs import HopCost
from shardline.wire.errors import ShardlineError
from shardline.wire.frame import decode

_HOST = "127.0.0.1"
_INSTANCES = (1, 20, 40, 64)  # of 48 KiB
_ROUNDS = 25
_DEADLINE_S = 30.0  # for the servers to come up, and for each answer
_VERSION = 1  # of how it is measured
_MEBIBYTE = 1024**2


class HopError(Exception):
    """The servers did not come up, or did not answer."""


def hop_cost(
    given: tuple[float, float] | None, cache: Cache, say: Callable[[str], None], *, fresh: bool = False
) -> HopCost:
    """The cost as the user gives it, else as it was measured on this machine, else measured now.

    Where it cannot be measured, the default, and a line that says so.
    """
    if given is not None:
        return HopCost(fixed_ms=given[0], per_mebibyte_ms=given[1], source="given")
    name = cache_name()
    known = None if fresh else cache.get(name)
    if known is not None:
        try:
            return HopCost(**known)
        except TypeError:
            cache.damaged(name)
    say("measuring what a hop between two stages costs on this machine, once")
    try:
        measured = measure_hop()
    except (HopError, ShardlineError, OSError) as exc:
        default = HopCost()
        say(f"a hop could not be measured ({exc}); taken as {default.fixed_ms} ms and {default.per_mebibyte_ms} a MB")
        return default
    document = {"fixed_ms": measured.fixed_ms, "per_mebibyte_ms": measured.per_mebibyte_ms, "source": measured.source}
    cache.put(name, document)
    return measured


def cache_name() -> str:
    """Under which a measured hop is kept: one for each kind of machine."""
    from shardline.partition.machine import processor

    return f"hops/{_VERSION}-{os.cpu_count()}-{''.join(c if c.isalnum() else '-' for c in processor())}"


def measure_hop(deadline_s: float = _DEADLINE_S) -> HopCost:
    """Measure now; the servers have `deadline_s` to come up.

    Raises:
        HopError: the servers did not come up, or did not answer.
    """
    from shardline.partition.echo import ECHOES, MAX_INSTANCES, build_echo, echo_frame
    from shardline.storage.bundle import stage_folder
    from shardline.storage.bundle_folder import open_bundle

    with tempfile.TemporaryDirectory(prefix="shardline-hop-") as folder, ExitStack() as stack:
        bundle = Path(folder) / "echo"
        build_echo(bundle)
        ports = _free_ports(4)
        addresses = [f"http://{_HOST}:{port}/v1/models/echo:predict" for port in ports[:2]]
        for stage, port in zip(ECHOES, ports, strict=False):
            stack.enter_context(_running(_shard(bundle / stage_folder(stage), port, MAX_INSTANCES)))
        for steps, port in zip((addresses[:1], addresses), ports[2:], strict=True):
            stack.enter_context(_running(_router(steps, port)))
        _wait([(port, "/v1/models/echo") for port in ports[:2]] + [(port, "/readyz") for port in ports[2:]], deadline_s)
        digest = open_bundle(bundle).digest
        bodies = [echo_frame(bundle, digest, instances) for instances in _INSTANCES]
        return fit([len(body) for body in bodies], _second_step_ms(ports[2], ports[3], bodies))


def fit(sizes_bytes: Sequence[int], taken_ms: Sequence[float]) -> HopCost:
    """The straight line that lies nearest; neither number below 0."""
    slope, fixed = np.polyfit(np.array(sizes_bytes) / _MEBIBYTE, np.array(taken_ms), 1)
    return HopCost(
        fixed_ms=round(max(0.0, float(fixed)), 3),
        per_mebibyte_ms=round(max(0.0, float(slope)), 3),
        source=datetime.now(UTC).strftime("measured at %Y-%m-%dT%H:%M:%SZ"),
    )


def _second_step_ms(one_port: int, two_port: int, bodies: Sequence[bytes]) -> list[float]:
    """For each body what the second step adds beside the models: the fastest with it, less the fastest without."""
    fastest = np.full((2, len(bodies)), np.inf)
    with _connection(one_port) as one, _connection(two_port) as two:
        for _ in range(_ROUNDS):
            for size, body in enumerate(bodies):
                for row, connection in enumerate((one, two)):
                    fastest[row, size] = min(fastest[row, size], _ask_ms(connection, body))
    return [float(value) for value in fastest[1] - fastest[0]]


def _ask_ms(connection: HTTPConnection, body: bytes) -> float:
    """One request, less what the stages' models took."""
    start = time.perf_counter()
    try:
        connection.request("POST", "/", body=body)
        response = connection.getresponse()
        reply = response.read()
    except (OSError, HTTPException) as exc:
        raise HopError(f"an echo did not answer: {type(exc).__name__}") from exc
    taken_ms = (time.perf_counter() - start) * 1000
    if response.status != 200:
        raise HopError(f"an echo answered {response.status}: {reply[:200].decode(errors='replace')}")
    return taken_ms - sum(decode(reply).timings.values())


def _shard(folder: Path, port: int, max_batch: int) -> list[str]:
    arguments = [f"--model_dir={folder}", f"--http_port={port}", f"--max_batch_size={max_batch}", "--device=cpu"]
    return ["shardline.predictors.shard", "--model_name=echo", "--enable_grpc=false", *arguments]


def _router(steps: Sequence[str], port: int) -> list[str]:
    targets = [{"serviceUrl": step} | ({"data": "$response"} if index else {}) for index, step in enumerate(steps)]
    graph = {"nodes": {"root": {"routerType": "Sequence", "steps": targets}}}
    return ["shardline.manifests.router", "--graph-json", json.dumps(graph), f"--port={port}", "--drain-seconds=0"]


@contextmanager
def _running(module: Sequence[str]) -> Iterator[None]:
    """`python -m module`, ended at the end."""
    root = str(Path(__file__).resolve().parents[1])
    paths = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    env = os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    process = subprocess.Popen(
        [sys.executable, "-m", *module], env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(pages: Sequence[tuple[int, str]], deadline_s: float) -> None:
    end_s = time.monotonic() + deadline_s
    for port, page in pages:
        while not _answers(port, page):
            if time.monotonic() > end_s:
                raise HopError(f"no server at port {port} within {deadline_s:.0f} s")
            time.sleep(0.05)


def _answers(port: int, page: str) -> bool:
    try:
        with _connection(port) as connection:
            connection.request("GET", page)
            return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False


def _connection(port: int) -> "closing[HTTPConnection]":
    return closing(HTTPConnection(_HOST, port, timeout=_DEADLINE_S))


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        listeners = [stack.enter_context(socket.socket()) for _ in range(count)]
        for listener in listeners:
            listener.bind((_HOST, 0))
        return [int(listener.getsockname()[1]) for listener in listeners]
