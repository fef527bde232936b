"""Figures of a run: medians, spreads and ratios of samples. Pure functions.

A ratio is computed in each round, in which both systems had the same conditions, and the result is the median of the
rounds: a ratio of medians would compare one system's good minute with another's bad one.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.systems.base import LoadSample

ALONE, MANY = "closed 1", "closed 8"
MOST = "closed 32"


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """Median, least and largest value of the rounds."""

    median: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultRow:
    """One system under one load, over all rounds. A value is None where no round has it."""

    system: str
    load: str
    rounds: int
    rps: Spread
    p50_ms: Spread | None
    p90_ms: Spread | None
    p99_ms: Spread | None
    cpu_ms: Spread | None
    client_cpu_ms: Spread | None
    pss_mib: float | None  # the largest of the rounds
    peak_rss_mib: float | None
    errors: int
    note: str


def spread(values: Iterable[float]) -> Spread | None:
    found = sorted(values)
    return Spread(median=median(found), low=found[0], high=found[-1]) if found else None


def rows(samples: Sequence[LoadSample]) -> list[ResultRow]:
    """Make one row for each system and load, in the order in which they first appear."""
    groups: dict[tuple[str, str], list[LoadSample]] = {}
    for sample in samples:
        groups.setdefault((sample.system, sample.load), []).append(sample)
    return [_row(system, load, group) for (system, load), group in groups.items()]


def _row(system: str, load: str, group: Sequence[LoadSample]) -> ResultRow:
    rps = spread(sample.rps for sample in group)
    assert rps is not None
    return ResultRow(
        system=system,
        load=load,
        rounds=len(group),
        rps=rps,
        p50_ms=_spread_of(group, lambda sample: sample.p50_ms),
        p90_ms=_spread_of(group, lambda sample: sample.p90_ms),
        p99_ms=_spread_of(group, lambda sample: sample.p99_ms),
        cpu_ms=_spread_of(group, lambda sample: sample.cpu_ms),
        client_cpu_ms=_spread_of(group, lambda sample: sample.client_cpu_ms),
        pss_mib=max((sample.pss_mib for sample in group if sample.pss_mib is not None), default=None),
        peak_rss_mib=max((sample.peak_rss_mib for sample in group if sample.peak_rss_mib is not None), default=None),
        errors=sum(sample.errors for sample in group),
        note=next((sample.note for sample in group if sample.note), ""),
    )


def _spread_of(group: Sequence[LoadSample], value: Callable[[LoadSample], float | None]) -> Spread | None:
    return spread(found for sample in group if (found := value(sample)) is not None)


def by_round(samples: Sequence[LoadSample], system: str | None, load: str, field: str) -> dict[int, float]:
    """Value of a field in each round that has one."""
    return {
        sample.round: value
        for sample in samples
        if sample.system == system and sample.load == load and (value := getattr(sample, field)) is not None
    }


def ratio(over: dict[int, float], under: dict[int, float]) -> float | None:
    """Median of the ratios of all rounds; None where no round has both."""
    ratios = [over[round_] / under[round_] for round_ in over.keys() & under.keys() if under[round_]]
    return round(median(ratios), 3) if ratios else None


def best(
    samples: Sequence[LoadSample], systems: Sequence[str], load: str, field: str, *, least: bool = False
) -> str | None:
    """The system with the highest (or lowest) median; None where none was measured."""
    medians = {
        system: median(values.values()) for system in systems if (values := by_round(samples, system, load, field))
    }
    if not medians:
        return None
    return min(medians, key=medians.__getitem__) if least else max(medians, key=medians.__getitem__)


def first(samples: Sequence[LoadSample], systems: Sequence[str]) -> str | None:
    """The first of these systems that was measured."""
    measured = {sample.system for sample in samples}
    return next((system for system in systems if system in measured), None)


def headline(samples: Sequence[LoadSample]) -> dict[str, float | str | None]:
    """Ratios that state the project's goals. Another system counts with its better setting.

    `…_rps` compare throughputs with 8 clients, `k3_over_torchserve_p50` latencies of one client (below 1: ours is
    faster). `k3_over_in_process_time` is the time of a picture in the chain divided by that in the compiled model at
    batch size 8, and `k3_bf16_over_torchserve_rps` uses 8 or 32 clients, whichever gives more.
    """
    k1, k3 = (first(samples, _variants(stages, "fp32")) for stages in (1, 3))
    torchserve, ray = ("torchserve-tuned", "torchserve-defaults"), ("ray-defaults", "ray-threads")

    def rate(system: str | None, load: str = MANY) -> dict[int, float]:
        return by_round(samples, system, load, "rps")

    def p50(system: str | None) -> dict[int, float]:
        return by_round(samples, system, ALONE, "p50_ms")

    fastest = best(samples, torchserve, MANY, "rps")
    bf16 = [ratio(rate(first(samples, _variants(3, "bf16")), load), rate(fastest)) for load in (MANY, MOST)]
    floor = first(samples, ["in-process-compiled", "in-process-eager"])
    return {
        "k3": k3,
        "k1": k1,
        "torchserve": fastest,
        "k3_over_torchserve_rps": ratio(rate(k3), rate(fastest)),
        "k3_over_torchserve_p50": ratio(p50(k3), p50(best(samples, torchserve, ALONE, "p50_ms", least=True))),
        "k3_bf16_over_torchserve_rps": max((found for found in bf16 if found is not None), default=None),
        "k3_over_ray_rps": ratio(rate(k3), rate(best(samples, ray, MANY, "rps"))),
        **{f"k3_over_{system.replace('-', '_')}_rps": ratio(rate(k3), rate(system)) for system in ray},
        "k3_over_json_chain_rps": ratio(rate(k3), rate("json-chain")),
        "k3_over_k1_rps": ratio(rate(k3), rate(k1)),
        "k3_bf16_over_k1_bf16_rps": ratio(
            rate(first(samples, _variants(3, "bf16"))), rate(first(samples, _variants(1, "bf16")))
        ),
        "k3_kserve_router_over_k3_rps": ratio(rate(f"{k3}-kserve"), rate(k3)),
        "k3_over_in_process_time": ratio(rate(floor), rate(k3)),
        "in_process": floor,
    }


def _variants(stages: int, precision: str) -> tuple[str, str]:
    return f"k{stages}-{precision}-compiled", f"k{stages}-{precision}"
