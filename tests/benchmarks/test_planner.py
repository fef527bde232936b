"""Segments of a small model that are cut out, run and timed, and the ratio of two chains."""

import numpy as np
import pytest

from benchmarks.planner import bounds, compare, cut_out, ratio, size_bytes
from shardline.partition.capture import capture
from shardline.partition.costs import HopCost
from shardline.partition.liveness import Liveness, analyse
from shardline.partition.models import load_model

PIXELS = np.random.default_rng(0).integers(0, 256, (1, 3, 32, 32), dtype=np.uint8)


@pytest.fixture(scope="module")
def liveness() -> Liveness:
    return analyse(capture(load_model("services.small_models:residual", size=32)))


def test_each_segment_is_cut_out_once_and_gets_what_the_one_before_gives(liveness: Liveness) -> None:
    last = len(liveness.positions)
    segments = cut_out(liveness, [(4, 9), (9,)], PIXELS)

    assert segments.keys() == {(-1, 4), (4, 9), (-1, 9), (9, last)}
    assert segments[-1, 4].body_bytes[0] == PIXELS.nbytes
    assert segments[9, last].body_bytes == (size_bytes(segments[9, last].inputs), 0)
    assert segments[4, 9].body_bytes[1] == segments[9, last].body_bytes[0]


def test_the_best_measured_chain_has_the_ratio_one(liveness: Liveness) -> None:
    """All candidates are among the chosen cuts, so that none is better."""
    cuts = (4, 9)
    hop = HopCost(fixed_ms=0.1, per_mebibyte_ms=0.5, source="test")
    figures = compare(liveness, hop, {"planner": cuts, "planner_latency": cuts}, cuts, PIXELS, rounds=1)

    assert (figures["chains"], figures["planner_over_best"], figures["planner_latency_over_best"]) == (1, 1, 1)
    assert figures["best_cuts"] == [liveness.positions[cut].name for cut in cuts]


def test_bounds_and_ratio(liveness: Liveness) -> None:
    assert bounds((4, 9), liveness) == [(-1, 4), (4, 9), (9, len(liveness.positions))]
    assert ratio(1.0, 3.0) == 0.333
