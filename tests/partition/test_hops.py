"""Overhead of one stage: measured with real servers, fitted, cached."""

from pathlib import Path

import pytest

from shardline.partition.costs import HopCost
from shardline.partition.hops import cache_name, fit, hop_cost, measure_hop
from shardline.partition.profile import Cache
from shardline.wire.limits import MIB


@pytest.mark.slow
def test_a_hop_is_measured_through_real_servers() -> None:
    measured = measure_hop(deadline_s=240)

    assert 0 < measured.fixed_ms + 3 * measured.per_mebibyte_ms < 1000
    assert measured.source.startswith("measured at 20")


def test_a_line_is_laid_through_what_was_measured() -> None:
    sloped = fit([0, MIB, 2 * MIB], [1.0, 3.0, 5.0])
    falling = fit([0, MIB], [2.0, 1.0])

    assert (sloped.fixed_ms, sloped.per_mebibyte_ms) == (1.0, 2.0)
    assert (falling.fixed_ms, falling.per_mebibyte_ms) == (2.0, 0.0)


def test_a_hop_that_is_given_is_taken(tmp_path: Path) -> None:
    found = hop_cost((1.5, 2.5), Cache(tmp_path), progress=pytest.fail)

    assert (found.fixed_ms, found.per_mebibyte_ms, found.source) == (1.5, 2.5, "given")


def test_a_hop_that_was_measured_is_taken(tmp_path: Path) -> None:
    (name,) = remembered(tmp_path, HopCost(fixed_ms=7.0, per_mebibyte_ms=1.0, source="measured then"))

    assert hop_cost(None, Cache(tmp_path), progress=pytest.fail).fixed_ms == 7.0
    assert name.parent == tmp_path / "hops"


def remembered(folder: Path, document: HopCost) -> list[Path]:
    """A hop as an earlier run kept it."""
    Cache(folder).put(cache_name(), document)
    return list((folder / "hops").iterdir())
