"""The pipeline model, where its answers are known."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.pipeline import ChainCosts, CostLine, loaded_latency_ms

MIB = 1024**2
COSTS = ChainCosts(
    whole_ms=50.0,
    whole_cpu_ms=80.0,
    hop=CostLine(fixed_ms=1.0, per_mib_ms=2.0),
    hop_cpu=CostLine(fixed_ms=2.0, per_mib_ms=4.0),
    cores=2,
)
positive = st.floats(0.1, 1000.0)


def test_a_line_through_two_points() -> None:
    line = CostLine.through((0, 1.0), (MIB, 3.0))

    assert line == COSTS.hop
    assert line.at(MIB / 2) == 2.0
    assert CostLine.through((0, 3.0), (MIB, 1.0)).per_mib_ms == 0.0  # noise: more bytes never cost less


def test_one_stage_is_the_whole() -> None:
    assert COSTS.latency_ms([]) == 50.0
    assert COSTS.throughput_rps([], clients=8) == 25.0
    assert COSTS.apart_rps([50.0], []) == 20.0


def test_each_cut_costs_a_hop() -> None:
    assert COSTS.latency_ms([MIB, MIB]) == 56.0
    assert COSTS.cpu_ms([MIB]) == 86.0


def test_few_clients_leave_stages_idle() -> None:
    assert COSTS.throughput_rps([], clients=1) == 20.0
    assert loaded_latency_ms(1, 20.0) == 50.0


def test_apart_the_slowest_stage_sets_the_pace() -> None:
    assert COSTS.apart_rps([10.0, 37.0, 10.0], [MIB, MIB]) == 25.0
    assert COSTS.apart_rps([10.0, 37.0, 10.0], [MIB, MIB], [1, 2, 1]) == pytest.approx(50.0)


@given(st.lists(positive, min_size=1, max_size=6), st.integers(1, 64))
def test_a_further_cut_never_helps_on_one_machine(megabytes: list[float], clients: int) -> None:
    cuts = [size * MIB for size in megabytes]

    assert COSTS.throughput_rps(cuts, clients) <= COSTS.throughput_rps(cuts[:-1], clients)
    assert COSTS.latency_ms(cuts) >= COSTS.latency_ms(cuts[:-1])
