"""Errors where no plan keeps the limits: they name the limit, and a value that suffices."""

import dataclasses
import re

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from services.plan_costs import (
    PIXEL_BYTES,
    costs_of,
    even,
    goal_of,
    possible,
    refused,
    synthetic,
)

from shardline.partition.costs import Costs
from shardline.partition.liveness import Liveness
from shardline.partition.plan import best_plan
from shardline.partition.search import FRAME_OVERHEAD_BYTES, Place
from shardline.wire.limits import MIB, Limits


def test_more_stages_than_places_are_refused(residual: Liveness) -> None:
    count = len(residual.positions)
    line = refused(residual, even(residual), goal_of(count + 2))

    assert f"{count + 2} stages need {count + 1} cuts; only {count} of {count} positions pass" in line


def test_places_that_pass_too_much_for_the_batch_are_refused(residual: Liveness) -> None:
    costs = even(residual, live_bytes=2 * MIB, batch=4)
    line = refused(residual, costs, goal_of(2))

    assert "only 0 of 17 positions pass at most 6.0 MiB for a batch of 4" in line
    assert "the smallest passes 8.0 MiB" in line
    assert "take fewer stages or a smaller --batch, or --limit 8.1Mi" in line
    assert best_plan(residual, costs, goal_of(2, limits=Limits(request_bytes=int(8.1 * MIB))))


@given(costs=synthetic(), stages=st.integers(1, 4), room=st.integers(1, 100))
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_refusal_for_memory_names_what_does_suffice_and_no_more(
    costs: Costs, stages: int, room: int, unnamed: Liveness
) -> None:
    limits = Limits(request_bytes=64 * MIB)
    goal = goal_of(stages, limits=limits, memory_bytes=room * MIB)
    assume(not possible(costs, goal))

    line = refused(unnamed, costs, goal)
    needed = re.search(r"--memory-per-stage (\d+)Mi", line)
    assert needed
    enough = int(needed[1])

    assert best_plan(unnamed, costs, goal_of(stages, limits=limits, memory_bytes=enough * MIB))
    refused(unnamed, costs, goal_of(stages, limits=limits, memory_bytes=(enough - 1) * MIB))
    if more := re.search(r"take (\d+) stages", line):
        assert best_plan(unnamed, costs, goal_of(int(more[1]), limits=limits, memory_bytes=room * MIB))


def test_a_refusal_for_memory_names_the_nearest_cut(residual: Liveness) -> None:
    pieces = len(residual.positions) + 1
    costs = costs_of([1.0] * pieces, [0] * (pieces - 1), weights=[10 * MIB] * pieces)

    line = refused(residual, costs, goal_of(3, memory_bytes=40 * MIB))

    assert line == (
        "no 3-stage plan fits 40.0 MiB per stage: the best split still needs 60.0 MiB (cut at one.0, three.0); "
        "take 5 stages or --memory-per-stage 61Mi"
    )


def test_stages_with_memory_of_their_own_are_refused_by_their_own(residual: Liveness) -> None:
    pieces = len(residual.positions) + 1
    costs = costs_of([1.0] * pieces, [0] * (pieces - 1), weights=[10 * MIB] * pieces)
    places = tuple(Place(memory_bytes=room * MIB) for room in (20, 100))

    line = refused(residual, costs, dataclasses.replace(goal_of(2), places=places))

    assert line.startswith("no 2-stage plan fits --memory-per-stage: the best split, cut at ")
    assert "which may hold " in line


@pytest.mark.parametrize("stages", [1, 2])
def test_pictures_that_no_request_holds_are_refused(stages: int, residual: Liveness) -> None:
    limits = Limits(request_bytes=FRAME_OVERHEAD_BYTES + PIXEL_BYTES - 1)
    more = Limits(request_bytes=limits.request_bytes + 1)

    assert "take a smaller --size" in refused(residual, even(residual), goal_of(stages, limits=limits))
    assert best_plan(residual, even(residual), goal_of(stages, limits=more)).max_instances == 1
