"""Measure the overhead of one stage on this machine: its server and the router, for small and large bodies.

A bundle is built whose two middle stages return their input. These echo stages run as real servers behind two real
routers: one router asks the first stage, the other asks the first and then the second. The difference between the two
is the overhead of one stage, without this client's own time; a straight line is fitted to the differences of a few body
sizes. This takes some seconds, and the result is cached for this machine.
"""

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import numpy as np
import torch

from shardline.partition.costs import HopCost
from shardline.partition.device import processor
from shardline.partition.models import Model
from shardline.partition.profile import Cache
from shardline.partition.program import Progress, import_root, silent
from shardline.partition.runtime import Golden
from shardline.storage.bundle import IMAGENET_MEAN, IMAGENET_STD, PictureSpec, stage_folder
from shardline.storage.bundle_folder import open_bundle
from shardline.wire.errors import ClusterDownError, ShardlineError
from shardline.wire.frame import Frame, decode, encode
from shardline.wire.limits import MIB

_HOST = "127.0.0.1"
_INSTANCES = (1, 20, 40, 64)  # pictures per body
_ROUNDS = 25
_DEADLINE_S = 30.0  # for the servers to start, and for each response
_VERSION = 1  # of the measurement
_ECHOES = (1, 2)  # the stages that return their input
_PIXELS = 64  # height and width: one picture is 48 KiB as float32
_MAX_INSTANCES = 64  # 3 MiB


def hop_cost(
    given: tuple[float, float] | None, cache: Cache, *, fresh: bool = False, progress: Progress = silent
) -> HopCost:
    """Overhead of one stage: as given, else as cached for this machine, else measured now.

    Where it cannot be measured, the default is returned and the reason is reported.

    Args:
        given: milliseconds of a stage, and milliseconds per MiB.
        cache: holds the measurement of this machine.
        fresh: measure even what the cache has.
    """
    if given is not None:
        return HopCost(fixed_ms=given[0], per_mebibyte_ms=given[1], source="given")
    name = cache_name()
    known = None if fresh else cache.get(name, HopCost)
    if known is not None:
        return known
    progress("measuring the overhead of a stage on this machine, once")
    try:
        measured = measure_hop()
    except (ShardlineError, OSError) as exc:
        default = HopCost()
        progress(
            f"the overhead of a stage could not be measured ({exc}): the plan uses {default.fixed_ms} ms and "
            f"{default.per_mebibyte_ms} ms per MiB"
        )
        return default
    cache.put(name, measured)
    return measured


def cache_name() -> str:
    """Name of this kind of machine's measurement in the cache."""
    return f"hops/{_VERSION}-{os.cpu_count()}-{''.join(c if c.isalnum() else '-' for c in processor())}"


def measure_hop(deadline_s: float = _DEADLINE_S) -> HopCost:
    """Measure the overhead of one stage with real servers, which must start within `deadline_s`.

    Raises:
        ClusterDownError: a server does not start, or does not answer.
    """
    with tempfile.TemporaryDirectory(prefix="shardline-hop-") as folder, ExitStack() as stack:
        bundle = Path(folder) / "echo"
        _build_echo(bundle)
        ports = _free_ports(4)
        addresses = [f"http://{_HOST}:{port}/v1/models/echo:predict" for port in ports[:2]]
        for stage, port in zip(_ECHOES, ports, strict=False):
            stack.enter_context(_running(_shard(bundle / stage_folder(stage), port, _MAX_INSTANCES)))
        for steps, port in zip((addresses[:1], addresses), ports[2:], strict=True):
            stack.enter_context(_running(_router(steps, port)))
        _wait([(port, "/v1/models/echo") for port in ports[:2]] + [(port, "/readyz") for port in ports[2:]], deadline_s)
        digest = open_bundle(bundle).digest
        bodies = [_echo_frame(bundle, digest, instances) for instances in _INSTANCES]
        return fit([len(body) for body in bodies], _second_step_ms(ports[2], ports[3], bodies))


def fit(sizes_bytes: Sequence[int], taken_ms: Sequence[float]) -> HopCost:
    """Fit a straight line to the measurements; neither of its numbers is below 0."""
    slope, fixed = np.polyfit(np.array(sizes_bytes) / MIB, np.array(taken_ms), 1)
    return HopCost(
        fixed_ms=round(max(0.0, float(fixed)), 3),
        per_mebibyte_ms=round(max(0.0, float(slope)), 3),
        source=datetime.now(UTC).strftime("measured at %Y-%m-%dT%H:%M:%SZ"),
    )


def _second_step_ms(one_port: int, two_port: int, bodies: Sequence[bytes]) -> list[float]:
    """Overhead of the second step for each body: fastest time with it less fastest without, models excluded."""
    fastest = np.full((2, len(bodies)), np.inf)
    with _connection(one_port) as one, _connection(two_port) as two:
        for _ in range(_ROUNDS):
            for size, body in enumerate(bodies):
                for row, connection in enumerate((one, two)):
                    fastest[row, size] = min(fastest[row, size], _ask_ms(connection, body))
    return [float(value) for value in fastest[1] - fastest[0]]


def _ask_ms(connection: HTTPConnection, body: bytes) -> float:
    """Milliseconds of one request, without those of the stages' models."""
    start = time.perf_counter()
    try:
        connection.request("POST", "/", body=body)
        response = connection.getresponse()
        reply = response.read()
    except (OSError, HTTPException) as exc:
        raise ClusterDownError(f"an echo stage does not answer: {type(exc).__name__}") from exc
    taken_ms = (time.perf_counter() - start) * 1000
    if response.status != 200:
        raise ClusterDownError(f"an echo stage answered {response.status}: {reply[:200].decode(errors='replace')}")
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
    """Run `python -m module` for the duration of the context."""
    paths = os.pathsep.join(filter(None, [import_root(), os.environ.get("PYTHONPATH")]))
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
                raise ClusterDownError(f"no server at port {port} within {deadline_s:.0f} s")
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


class _Pass(torch.nn.Module):
    """Layer that returns its input by an operation that changes nothing: a stage needs at least one operation."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + 0.0


class _Mean(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean((2, 3))


class _Echo(torch.nn.Module):
    """Network that uses the picture at the end again, so that it crosses every cut."""

    def __init__(self) -> None:
        super().__init__()
        self.start, self.one, self.two = _Mean(), _Pass(), _Pass()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        passed: torch.Tensor = self.two(self.one(self.start(x)))
        return passed + x.mean((2, 3))  # in this order, so that x stays alive until here


def _build_echo(folder: Path) -> None:
    """Build the bundle at `folder`: four stages, of which the two in the middle return their input."""
    from shardline.partition.build import BuildOptions, build  # measured once per machine

    model = Model(
        reference="echo",
        weights="none",
        module=_Echo(),
        picture=PictureSpec(height=_PIXELS, width=_PIXELS),
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
    )
    options = BuildOptions(cuts=("start", "one", "two"), batch=_MAX_INSTANCES)
    pictures = np.random.default_rng(0).integers(0, 256, (2, 3, _PIXELS, _PIXELS), dtype=np.uint8)
    build(model, "echo", pictures, options, folder)


def _echo_frame(folder: Path, digest: str, instances: int) -> bytes:
    """Frame for the first echo stage, with this many pictures."""
    inputs = Golden.load(folder / stage_folder(_ECHOES[0])).inputs
    tensors = {name: np.repeat(value, instances, axis=0) for name, value in inputs.items()}
    return encode(Frame(tensors=tensors, bundle=digest, stage=_ECHOES[0]))
