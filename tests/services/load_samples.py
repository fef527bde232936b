"""Samples of two systems under two loads in two rounds, for tests of tables and plots."""

from dataclasses import replace

from benchmarks.figures import ALONE, MANY
from benchmarks.systems.base import LoadSample

SAMPLE = LoadSample(
    system="",
    round=0,
    load=MANY,
    rps=10.0,
    p50_ms=100.0,
    p90_ms=110.0,
    p99_ms=None,
    max_ms=130.0,
    answered=60,
    errors=0,
    cpu_ms=90.0,
    client_cpu_ms=0.5,
    pss_mib=500.0,
    peak_rss_mib=900.0,
)
SAMPLES = [
    replace(SAMPLE, system=system, load=load, round=round_, rps=10.0 + round_)
    for system in ("k3-fp32", "torchserve-tuned")
    for load in (ALONE, MANY)
    for round_ in range(2)
]
