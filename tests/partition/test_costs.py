"""Measured costs are consistent; how long anything takes depends on the machine."""

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch.fx import Interpreter, Node
from torch.multiprocessing.reductions import StorageWeakRef

from shardline.partition.capture import capture, random_pixels
from shardline.partition.costs import Costs, HopCost, costs_of, edge_bytes, stage_peak_bytes, stage_weight_bytes
from shardline.partition.cut import cut
from shardline.partition.liveness import Liveness, analyse
from shardline.partition.models import load_model
from shardline.partition.profile import Profile, profile
from shardline.partition.program import lifted_arguments

NAMES = ("residual", "tuples", "shared_buffer", "windows", "reused", "derived", "vision_transformer")
MEASURED = NAMES[:-1]
CPU = torch.device("cpu")


def pixels(batch: int) -> torch.Tensor:
    return random_pixels(load_model("services.small_models:residual", size=32), batch)


@pytest.fixture(scope="module")
def measured(analysed: dict[str, Liveness]) -> dict[str, tuple[Liveness, Profile, Costs]]:
    found = {}
    for name in MEASURED:
        liveness = analysed[name]
        single, batch = (profile(liveness, pixels(count), CPU) for count in (1, 3))
        found[name] = liveness, batch, costs_of(liveness, {"cpu": (single, batch)}, HopCost())
    return found


@pytest.mark.parametrize("name", MEASURED)
def test_there_is_a_sum_for_every_edge(name: str, measured: dict[str, tuple[Liveness, Profile, Costs]]) -> None:
    liveness, _, costs = measured[name]
    edges = len(liveness.positions) + 2

    assert (costs.batch, costs.threads) == (3, torch.get_num_threads())
    assert len(costs.times["cpu"].batch_ms) == len(costs.times["cpu"].single_ms) == edges
    assert costs.weight_bytes.shape == costs.peak_bytes.shape == (edges, edges)
    assert list(costs.body_bytes[1:-1]) == [position.bytes_per_instance() for position in liveness.positions]
    assert (costs.body_bytes[0], costs.body_bytes[-1]) == (3 * 32 * 32, 0)


@pytest.mark.parametrize("name", MEASURED)
def test_the_edges_part_the_whole_s_time_without_rest(
    name: str, measured: dict[str, tuple[Liveness, Profile, Costs]]
) -> None:
    _, batch, costs = measured[name]
    sums = costs.times["cpu"].batch_ms

    assert sums[0] == 0
    assert all(before < after for before, after in itertools.pairwise(sums))
    assert sums[-1] == pytest.approx(sum(batch.node_ms.values()))


@pytest.fixture(scope="module")
def analysed() -> dict[str, Liveness]:
    return {name: analyse(capture(load_model(f"services.small_models:{name}", size=32))) for name in NAMES}


def weak(tensor: torch.Tensor) -> Any:
    """A reference to a tensor's memory that does not keep it alive."""
    return StorageWeakRef(tensor.untyped_storage())  # type: ignore[no-untyped-call]


class Watched(Interpreter):
    """Runs a graph and sees, after each node, the bytes of all tensors' memory that is not let go."""

    def __init__(self, module: torch.fx.GraphModule, known: list[torch.Tensor]) -> None:
        super().__init__(module)
        self.known = {weak(value) for value in known}
        self.seen: dict[Any, int] = {}
        self.most = 0

    def run_node(self, n: Node) -> Any:
        value = super().run_node(n)
        leaves = torch.utils._pytree.tree_leaves(value)
        for tensor in leaves if n.op == "call_function" else []:
            reference = weak(tensor) if isinstance(tensor, torch.Tensor) else None
            if reference is not None and reference not in self.known:
                self.seen[reference] = max(self.seen.get(reference, 0), tensor.untyped_storage().nbytes())
        alive = [reference for reference in self.seen if not reference.expired()]
        self.seen = {reference: self.seen[reference] for reference in alive}
        self.most = max(self.most, sum(self.seen.values()))
        return value


def runs(liveness: Liveness, batch: int) -> Iterator[tuple[int, int, int, int]]:
    """For every stage of three cuts in a row: its edges, its weights' bytes, and the most that its tensors took."""
    model = load_model("services.small_models:residual", size=32)
    step = max(1, len(liveness.positions) // 4)
    cuts = liveness.positions[step - 1 :: step]
    bounds = [0, *(position.index + 1 for position in cuts), len(liveness.positions) + 1]
    values: list[torch.Tensor] = [random_pixels(model, batch)]
    for shard, (start, end) in zip(cut(liveness, cuts, values[0]), itertools.pairwise(bounds), strict=True):
        names = {spec.arg.name: value for spec, value in _inputs(shard.program, values)}
        arguments = [names[node.name] for node in shard.program.graph.nodes if node.op == "placeholder"]
        watched = Watched(shard.program.graph_module, arguments)
        with torch.inference_mode():
            outputs = watched.run(*arguments)
        taken = sum(value.nbytes for value in values) + watched.most
        weights = sum(value.nbytes for name, value in names.items() if not _is_user_input(shard.program, name))
        yield start, end, weights, taken
        values = [value.clone() for value in outputs]


def _inputs(program: torch.export.ExportedProgram, values: list[torch.Tensor]) -> Iterator[tuple[Any, torch.Tensor]]:
    given = iter(values)
    for spec, value in zip(program.graph_signature.input_specs, lifted_arguments(program, values), strict=True):
        yield spec, next(given) if _is_user_input(program, spec.arg.name) else value


def _is_user_input(program: torch.export.ExportedProgram, name: str) -> bool:
    return name in program.graph_signature.user_inputs


@pytest.mark.parametrize("name", NAMES)
def test_tensors_take_what_was_counted(name: str, analysed: dict[str, Liveness]) -> None:
    counted = stage_peak_bytes(analysed[name], 3)

    for start, end, _, taken in runs(analysed[name], 3):
        spare = 64 if name == "derived" else 0  # what a table's lookup needs on its way counts until the bias is used
        assert taken <= counted[start, end] <= taken + spare, (start, end)


@pytest.mark.parametrize("name", NAMES)
def test_weights_are_those_that_a_shard_holds(name: str, analysed: dict[str, Liveness]) -> None:
    counted = stage_weight_bytes(analysed[name])

    for start, end, weights, _ in runs(analysed[name], 1):
        assert counted[start, end] == weights, (start, end)


def parameter_bytes(name: str, *without: str) -> int:
    state = load_model(f"services.small_models:{name}").module.state_dict()
    return sum(value.nbytes for key, value in state.items() if not key.endswith(without))


@pytest.mark.parametrize("name", NAMES)
def test_the_whole_holds_every_weight_once(name: str, analysed: dict[str, Liveness]) -> None:
    """A buffer or a module that is used twice counts once; what no operation reads does not count."""
    normalisation = 2 * 3 * 4  # mean and std

    assert stage_weight_bytes(analysed[name])[0, -1] == parameter_bytes(name, "num_batches_tracked") + normalisation


def test_a_shared_weight_counts_in_each_stage_that_reads_it(analysed: dict[str, Liveness]) -> None:
    liveness = analysed["shared_buffer"]
    middle = liveness.find("middle").index + 1
    weights = stage_weight_bytes(liveness)

    assert weights[middle, -1] == (6 * 4 + 4) * 4 + 2 * 6 * 4  # the head, and scale and bias again
    assert weights[0, middle] + weights[middle, -1] == weights[0, -1] + 2 * 6 * 4


@pytest.mark.parametrize("name", NAMES)
def test_a_longer_stage_never_holds_less(name: str, analysed: dict[str, Liveness]) -> None:
    for counted in (stage_weight_bytes(analysed[name]), stage_peak_bytes(analysed[name], 1)):
        assert all((np.diff(counted[start, start + 1 :]) >= 0).all() for start in range(len(counted) - 1))
        assert not np.tril(counted).any()


def test_edges_pass_the_pixels_the_live_sets_and_a_reply(analysed: dict[str, Liveness]) -> None:
    bodies = edge_bytes(analysed["residual"], 2)

    assert (bodies[0], bodies[-1]) == (2 * 3 * 32 * 32, 0)
    assert bodies[1:-1] == [2 * position.bytes_per_instance() for position in analysed["residual"].positions]
