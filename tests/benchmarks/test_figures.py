"""Medians and ratios are taken round by round."""

from dataclasses import replace

from benchmarks.figures import ALONE, MANY, best, by_round, headline, ratio, rows, spread
from benchmarks.systems.base import LoadSample

SAMPLE = LoadSample(
    system="k3-fp32",
    round=0,
    load=MANY,
    rps=10.0,
    p50_ms=100.0,
    p90_ms=110.0,
    p99_ms=120.0,
    max_ms=130.0,
    answered=60,
    errors=0,
    cpu_ms=90.0,
    client_cpu_ms=0.5,
    pss_mib=500.0,
    peak_rss_mib=900.0,
)


def samples(system: str, rates: list[float], load: str = MANY, p50_ms: float | None = 100.0) -> list[LoadSample]:
    return [
        replace(SAMPLE, system=system, round=round_, rps=rate, load=load, p50_ms=p50_ms)
        for round_, rate in enumerate(rates)
    ]


def test_a_ratio_is_the_median_of_the_rounds_ratios() -> None:
    """The machine was slow in round 1, for both: the ratio of medians would be 2."""
    over = by_round(samples("a", [10.0, 5.0, 20.0]), "a", MANY, "rps")
    under = by_round(samples("b", [5.0, 2.0, 5.0]), "b", MANY, "rps")

    assert ratio(over, under) == 2.5


def test_a_ratio_needs_a_common_round() -> None:
    assert ratio({0: 1.0}, {1: 1.0}) is None
    assert ratio({}, {}) is None
    assert ratio({0: 1.0}, {0: 0.0}) is None


def test_spread() -> None:
    found = spread([3.0, 1.0, 2.0])

    assert found is not None
    assert (found.median, found.low, found.high) == (2.0, 1.0, 3.0)
    assert spread([]) is None


def test_rows_keep_the_order_and_sum_errors() -> None:
    failing = replace(SAMPLE, system="late", errors=2, note="500: no", pss_mib=None)
    found = rows([*samples("b", [1.0, 3.0]), failing, *samples("a", [2.0])])

    assert [(row.system, row.rounds, row.errors) for row in found] == [("b", 2, 0), ("late", 1, 2), ("a", 1, 0)]
    assert found[0].rps.median == 2.0
    assert found[1].pss_mib is None
    assert found[1].note == "500: no"


def test_a_load_that_was_not_kept_has_no_latency() -> None:
    [row] = rows([replace(SAMPLE, load="open", p50_ms=None, cpu_ms=None, note="does not keep 9 requests/s")])

    assert row.p50_ms is None
    assert row.rps.median == 10.0


def test_the_better_setting_of_a_peer_counts() -> None:
    measured = [
        *samples("k3-fp32-compiled", [30.0, 30.0]),
        *samples("torchserve-tuned", [10.0, 20.0]),
        *samples("torchserve-defaults", [14.0, 8.0]),
        *samples("ray-threads", [6.0, 6.0]),
        *samples("json-chain", [3.0, 2.0]),
        *samples("in-process-compiled", [33.0, 33.0]),
        *samples("k3-fp32-compiled", [9.0], ALONE, p50_ms=80.0),
        *samples("torchserve-tuned", [9.0], ALONE, p50_ms=100.0),
        *samples("torchserve-defaults", [9.0], ALONE, p50_ms=160.0),
    ]

    figures = headline(measured)

    assert figures["torchserve"] == "torchserve-tuned"
    assert figures["k3_over_torchserve_rps"] == 2.25
    assert figures["k3_over_torchserve_p50"] == 0.8
    assert figures["k3_over_ray_rps"] == 5.0
    assert figures["k3_over_json_chain_rps"] == 12.5
    assert figures["k3_over_in_process_time"] == 1.1
    assert figures["k3_over_k1_rps"] is None
    assert figures["k3_bf16_over_torchserve_rps"] is None


def test_bf16_counts_with_the_better_load() -> None:
    measured = [
        *samples("torchserve-tuned", [10.0]),
        *samples("k3-bf16-compiled", [30.0]),
        *samples("k3-bf16-compiled", [45.0], "closed 32"),
    ]

    assert headline(measured)["k3_bf16_over_torchserve_rps"] == 4.5


def test_nothing_measured_is_null_throughout() -> None:
    assert set(headline([]).values()) == {None}
    assert best([], ["a"], MANY, "rps") is None
