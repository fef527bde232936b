"""What each piece of the whole costs on this machine: measured milliseconds, and bytes.

The whole is run node by node, several times; a node's cost is its fastest run, since everything else on the machine
only adds. Timing node by node costs some microseconds of interpreter each, so the nodes' sum is scaled to the time of
the whole run at once.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch.fx import Interpreter, Node

from partition.liveness import Liveness
from partition.program import lifted_arguments, runnable

_RUNS = 5

# What a hop between two stages costs beside the model, through KServe's router: seen with echo stages on two cores,
# 0.4 ms for a small body and 8 to 12 ms for 3 MB, per step.
HOP_MS = 0.4
HOP_MS_PER_MEBIBYTE = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """Costs at every position of one whole, for one batch.

    `model_ms[i]` and `weight_bytes[i]` count everything from the input up to position i, free nodes where they are
    needed first; the last entry, one past the positions, counts the whole. `live_bytes[i]` is what crosses at position
    i, of one instance.
    """

    batch: int
    threads: int
    model_ms: tuple[float, ...]
    weight_bytes: tuple[int, ...]
    live_bytes: tuple[int, ...]


def hop_ms(body_bytes: int) -> float:
    """What sending a body of this size to the next stage costs."""
    return HOP_MS + HOP_MS_PER_MEBIBYTE * body_bytes / 1024**2


def measure(liveness: Liveness, pixels: torch.Tensor) -> Costs:
    """Time the whole on `pixels` (uint8 [batch, 3, height, width]), with torch's current number of threads."""
    seconds = _node_seconds(liveness, pixels)
    scale = _whole_seconds(liveness, pixels) / sum(seconds.values())
    model_ms, weight_bytes = [], []
    sum_ms, sum_bytes = 0.0, 0
    known = {liveness.pixels, *liveness.carried}
    ends = {position.node: position for position in liveness.positions}
    for node in liveness.carried:
        for each in (node, *_free_before(node, known)):
            sum_ms += seconds.get(each.name, 0.0) * scale * 1000
            sum_bytes += each.meta["val"].nbytes if each.op == "placeholder" else 0
        if node in ends:
            model_ms.append(sum_ms)
            weight_bytes.append(sum_bytes)
    return Costs(
        batch=len(pixels),
        threads=torch.get_num_threads(),
        model_ms=(*model_ms, sum_ms),
        weight_bytes=(*weight_bytes, sum_bytes),
        live_bytes=tuple(position.bytes_per_instance() for position in liveness.positions),
    )


def _free_before(node: Node, known: set[Node]) -> list[Node]:
    """The free nodes, weights among them, that this node is the first to need; `known` is added to."""
    found = []
    waiting = [node]
    while waiting:
        new = [needed for needed in waiting.pop().all_input_nodes if needed not in known]
        known.update(new)
        found += new
        waiting += new
    return found


def _node_seconds(liveness: Liveness, pixels: torch.Tensor) -> Mapping[str, float]:
    """Each node's fastest run."""
    timer = _Timer(liveness.program.graph_module)
    arguments = lifted_arguments(liveness.program, pixels)
    with torch.inference_mode():
        for _ in range(_RUNS):
            timer.run(*arguments)
    return timer.seconds


def _whole_seconds(liveness: Liveness, pixels: torch.Tensor) -> float:
    module = runnable(liveness.program)
    times = []
    with torch.inference_mode():
        for _ in range(_RUNS):
            start = time.perf_counter()
            module(pixels)
            times.append(time.perf_counter() - start)
    return min(times)


class _Timer(Interpreter):
    """Runs a graph and keeps each operation's fastest time in seconds."""

    def __init__(self, module: torch.fx.GraphModule) -> None:
        super().__init__(module)
        self.seconds: dict[str, float] = {}

    def run_node(self, n: Node) -> Any:
        if n.op != "call_function":
            return super().run_node(n)
        start = time.perf_counter()
        value = super().run_node(n)
        taken = time.perf_counter() - start
        self.seconds[n.name] = min(taken, self.seconds.get(n.name, taken))
        return value
