"""What is measured hangs together; how long it took is the machine's business."""

import itertools

import pytest
import torch

from partition.capture import capture, random_pixels
from partition.costs import HOP_MS, HOP_MS_PER_MEBIBYTE, Costs, hop_ms, measure
from partition.liveness import Liveness, analyse
from partition.models import load_model

NAMES = ("residual", "tuples", "shared_buffer", "windows", "reused", "derived")


@pytest.fixture(scope="module")
def measured() -> dict[str, tuple[Liveness, Costs]]:
    found = {}
    for name in NAMES:
        model = load_model(f"services.small_models:{name}", size=32)
        liveness = analyse(capture(model))
        found[name] = liveness, measure(liveness, random_pixels(model, 3))
    return found


@pytest.mark.parametrize("name", NAMES)
def test_there_is_a_sum_for_every_position_and_for_the_whole(
    name: str, measured: dict[str, tuple[Liveness, Costs]]
) -> None:
    liveness, costs = measured[name]
    count = len(liveness.positions)

    assert (costs.batch, costs.threads) == (3, torch.get_num_threads())
    assert len(costs.model_ms) == len(costs.weight_bytes) == count + 1
    assert list(costs.live_bytes) == [position.bytes_per_instance() for position in liveness.positions]


@pytest.mark.parametrize("name", NAMES)
def test_sums_never_fall(name: str, measured: dict[str, tuple[Liveness, Costs]]) -> None:
    _, costs = measured[name]

    assert costs.model_ms[0] > 0
    assert all(before < after for before, after in itertools.pairwise(costs.model_ms))
    assert all(before <= after for before, after in itertools.pairwise(costs.weight_bytes))


def parameter_bytes(name: str, *without: str) -> int:
    state = load_model(f"services.small_models:{name}").module.state_dict()
    return sum(value.nbytes for key, value in state.items() if not key.endswith(without))


@pytest.mark.parametrize("name", NAMES)
def test_the_last_sum_is_every_weight_once(name: str, measured: dict[str, tuple[Liveness, Costs]]) -> None:
    """A buffer or a module that is used twice counts once; what no operation reads does not count."""
    _, costs = measured[name]
    normalisation = 2 * 3 * 4  # mean and std

    assert costs.weight_bytes[-1] == parameter_bytes(name, "num_batches_tracked") + normalisation
    assert costs.weight_bytes[0] == 0  # bytes become numbers


def test_a_shared_weight_counts_where_it_is_used_first(measured: dict[str, tuple[Liveness, Costs]]) -> None:
    liveness, costs = measured["shared_buffer"]
    middle = liveness.find("middle").index
    rest = costs.weight_bytes[-1] - costs.weight_bytes[middle]

    assert rest == (6 * 4 + 4) * 4  # the head alone, and neither scale nor bias again


def test_a_weight_that_a_constant_is_made_of_counts_where_that_is_used_first(
    measured: dict[str, tuple[Liveness, Costs]],
) -> None:
    liveness, costs = measured["derived"]
    conv, relu = liveness.find("conv").index, liveness.find("relu").index

    assert costs.weight_bytes[relu] - costs.weight_bytes[conv] == 7 * 4 + 4 * 8  # the table and its places


def test_a_hop_costs_by_its_bytes() -> None:
    assert hop_ms(0) == HOP_MS
    assert hop_ms(2 * 1024**2) == pytest.approx(HOP_MS + 2 * HOP_MS_PER_MEBIBYTE)
