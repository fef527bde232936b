"""The prediction for a growing chain, made from its bundle."""

from pathlib import Path

import pytest

from benchmarks.growth import SERIES, cuts_bytes, stages_ms
from benchmarks.pipeline import ChainCosts, CostLine
from shardline.storage.bundle_folder import open_bundle

COSTS = ChainCosts(
    whole_ms=30.0,
    whole_cpu_ms=20.0,
    hop=CostLine(fixed_ms=1.0, per_mib_ms=2.0),
    hop_cpu=CostLine(fixed_ms=0.5, per_mib_ms=1.0),
    cores=2,
)


def test_the_time_of_the_whole_is_divided_among_the_stages(small_bundle: Path) -> None:
    bundle = open_bundle(small_bundle)
    times_ms = stages_ms(bundle, COSTS)

    assert len(times_ms) == 3
    assert sum(times_ms) == pytest.approx(30)
    assert min(times_ms) > 0
    assert cuts_bytes(bundle) == [stage.output_bytes for stage in bundle.stages[:2]]


def test_all_series_have_a_measurement() -> None:
    assert SERIES.keys() == {"stages", "batch", "size", "clients", "replicas"}
