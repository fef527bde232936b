"""Measure how long each operation of the whole takes on a device, and cache measurements on disk.

The whole is run node by node, several times; a node's time is its fastest run, since everything else on the machine
only adds. Timing node by node costs some microseconds of interpreter for each (on a GPU, a synchronisation), so the
nodes' times are scaled: their sum is the fastest run of the whole at once. Times do not depend on the values of weights
and pictures, so a profile is cached under a digest of the graph, the shapes and the machine.
"""

import copy
import hashlib
import json
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch.export import ExportedProgram
from torch.fx import Interpreter, Node

from shardline.partition.device import describe_machine, move
from shardline.partition.liveness import Liveness, size_at
from shardline.partition.program import Progress, lifted_arguments, program_inputs, runnable, silent
from shardline.wire.typed import from_json

_VERSION = 1  # of the measurement: raise it when an older profile would mislead
_ROUNDS = range(3, 10)  # at least and at most
_ENOUGH_S = 6.0  # no further round begins after this time

T = TypeVar("T")


class Cache:
    """A folder of small JSON documents, one per measurement.

    A document is written completely or not at all. A damaged one is reported and counts as absent.
    """

    def __init__(self, folder: Path, progress: Progress = silent) -> None:
        """Use `folder`, which is created when the first document is written."""
        self._folder = folder
        self._progress = progress

    def get(self, name: str, kind: type[T]) -> T | None:
        """Read the document called `name` as the dataclass `kind`; None if there is none that can be read."""
        path = self._folder / f"{name}.json"
        try:
            return from_json(kind, path.read_bytes(), error=ValueError)
        except FileNotFoundError:
            return None
        except (OSError, ValueError):
            self._progress(f"{path} is damaged: measuring again")
            return None

    def put(self, name: str, document: Any) -> None:
        """Write a dataclass as the document called `name`; if the folder cannot be written to, that is reported."""
        path = self._folder / f"{name}.json"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile("w", dir=path.parent, suffix=".part", delete=False) as draft:
                json.dump(asdict(document), draft)
            Path(draft.name).replace(path)
        except OSError as exc:
            self._progress(f"{path} cannot be written ({exc.strerror}): times will be measured again next time")


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """Milliseconds of each operation of the whole's graph, which add up to one run on `batch` pictures."""

    device: str
    batch: int
    threads: int
    measured_at: str  # UTC, ISO 8601
    node_ms: Mapping[str, float]


def profile(
    liveness: Liveness,
    pixels: torch.Tensor,
    device: torch.device,
    *,
    cache: Cache | None = None,
    fresh: bool = False,
    progress: Progress = silent,
) -> Profile:
    """Measure the whole on `pixels` (uint8 [batch, channels, height, width]), with torch's current number of threads.

    Args:
        cache: holds earlier measurements, and receives new ones.
        fresh: measure even what the cache has.
    """
    name = f"profiles/{_key(liveness.program, len(pixels), device)}"
    what = f"batch {len(pixels)} on {device}"
    known = None if cache is None or fresh else cache.get(name, Profile)
    if known is not None and known.node_ms.keys() == {node.name for node in _operations(liveness.program)}:
        progress(f"{what} was measured at {known.measured_at}; --fresh measures again")
        return known
    progress(f"measuring {what}")
    measured = _measure(liveness.program, pixels, device)
    if cache is not None:
        cache.put(name, measured)
    return measured


def _key(program: ExportedProgram, batch: int, device: torch.device) -> str:
    """Digest of everything that the times depend on."""
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
    inputs = tuple(value.to(device) for value in program_inputs(program, pixels))
    timer = _Timer(program.graph_module, device)
    module, arguments = runnable(program), lifted_arguments(program, inputs)
    whole_s = float("inf")
    end_s = time.monotonic() + _ENOUGH_S
    with torch.inference_mode():
        for number in range(_ROUNDS.stop):
            if number >= _ROUNDS.start and time.monotonic() > end_s:
                break
            timer.run(*arguments)
            whole_s = min(whole_s, _seconds(lambda: module(*inputs), device))
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
    """Interpreter that keeps the fastest time of each operation, in seconds."""

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
