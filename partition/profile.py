"""How long each operation of the whole takes on a device: measured node by node, or taken from an earlier measurement.

The whole is run node by node, several times; a node's time is its fastest run, since everything else on the machine
only adds. Timing node by node costs some microseconds of interpreter each (on a GPU, a wait for its end), so the nodes'
times are scaled: their sum is the fastest run of the whole at once. Times do not depend on the values of weights and
pictures, so a profile is kept under a digest of the graph, the shapes and the machine.
"""

import copy
import hashlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import torch
from torch.export import ExportedProgram
from torch.fx import Interpreter, Node

from shardline.partition.cache import Cache
from shardline.partition.device import move
from shardline.partition.liveness import Liveness, size_at
from shardline.partition.machine import describe_machine
from shardline.partition.program import lifted_arguments, runnable
from shardline.wire.typed import typed

_VERSION = 1  # of what is measured and how: raise it when an older profile would mislead
_ROUNDS = range(3, 10)  # at least and at most
_ENOUGH_S = 6.0  # after which no further round begins


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """`node_ms` has each operation of the graph; they add up to one run of the whole on `batch` pictures."""

    device: str
    batch: int
    threads: int
    measured_at: str  # UTC, ISO 8601
    node_ms: Mapping[str, float]


def profile(
    liveness: Liveness,
    pixels: torch.Tensor,
    device: torch.device,
    say: Callable[[str], None] = lambda _: None,
    *,
    cache: Cache | None = None,
    fresh: bool = False,
) -> Profile:
    """The whole's times on `pixels` (uint8 [batch, 3, height, width]), with torch's current number of threads.

    Args:
        cache: where to look for an earlier measurement, and to keep a new one.
        fresh: do not look, measure.
    """
    name = f"profiles/{_key(liveness.program, len(pixels), device)}"
    what = f"batch {len(pixels)} on {device}"
    known = None if cache is None or fresh else _known(cache, name)
    if known is not None and known.node_ms.keys() == {node.name for node in _operations(liveness.program)}:
        say(f"{what} was measured at {known.measured_at}; --fresh measures anew")
        return known
    say(f"measuring {what}")
    measured = _measure(liveness.program, pixels, device)
    if cache is not None:
        cache.put(name, asdict(measured))
    return measured


def _known(cache: Cache, name: str) -> Profile | None:
    document = cache.get(name)
    if document is None:
        return None
    try:
        return typed(Profile, document, error=ValueError)
    except ValueError:
        cache.damaged(name)
        return None


def _key(program: ExportedProgram, batch: int, device: torch.device) -> str:
    """A digest of all that the times depend on."""
    graph = [[node.op, node.name, str(node.target), str(node.args), str(node.kwargs), _layout(node)]
             for node in program.graph.nodes]  # fmt: skip
    content = [_VERSION, graph, batch, device.type, describe_machine(device)]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _layout(node: Node) -> list[Any] | None:
    value = node.meta.get("val")
    if not isinstance(value, torch.Tensor):
        return None
    return [str(value.dtype), [[size_at(dim, batch) for dim in value.shape] for batch in (1, 2)]]


def _operations(program: ExportedProgram) -> list[Node]:
    return [node for node in program.graph.nodes if node.op == "call_function"]


def _measure(program: ExportedProgram, pixels: torch.Tensor, device: torch.device) -> Profile:
    if device.type != "cpu":
        program = move(copy.deepcopy(program), device)
    pixels = pixels.to(device)
    timer = _Timer(program.graph_module, device)
    module, arguments = runnable(program), lifted_arguments(program, pixels)
    whole_s = float("inf")
    end_s = time.monotonic() + _ENOUGH_S
    with torch.inference_mode():
        for number in range(_ROUNDS.stop):
            if number >= _ROUNDS.start and time.monotonic() > end_s:
                break
            timer.run(*arguments)
            whole_s = min(whole_s, _seconds(lambda: module(pixels), device))
    scale = whole_s / sum(timer.seconds.values())
    return Profile(
        device=str(device),
        batch=len(pixels),
        threads=torch.get_num_threads(),
        measured_at=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        node_ms={name: seconds * scale * 1000 for name, seconds in timer.seconds.items()},
    )


def _seconds(call: Callable[[], object], device: torch.device) -> float:
    start = time.perf_counter()
    call()
    _wait(device)
    return time.perf_counter() - start


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


class _Timer(Interpreter):
    """Runs a graph and keeps each operation's fastest time in seconds."""

    def __init__(self, module: torch.fx.GraphModule, device: torch.device) -> None:
        super().__init__(module)
        self.seconds: dict[str, float] = {}
        self._device = device

    def run_node(self, n: Node) -> Any:
        if n.op != "call_function":
            return super().run_node(n)
        start = time.perf_counter()
        value = super().run_node(n)
        _wait(self._device)
        taken = time.perf_counter() - start
        self.seconds[n.name] = min(taken, self.seconds.get(n.name, taken))
        return value
