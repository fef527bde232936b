"""The plan is the best one there is, by trying them all; limits hold; what cannot be planned is one line."""

import dataclasses
import math
from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from services.plan_costs import (
    HOP,
    PIXEL_BYTES,
    costs_of,
    even,
    goal_of,
    objective_ms,
    possible,
    refused,
    stage_times,
    synthetic,
)

from shardline.partition.costs import Costs, HopCost
from shardline.partition.liveness import Liveness
from shardline.partition.plan import Plan, best_plan, plan_at
from shardline.partition.search import FRAME_OVERHEAD_BYTES, Goal, Place
from shardline.wire.errors import PlanError
from shardline.wire.limits import MIB, Limits

TOLERANCE = 0.03


def indexes(found: Plan) -> list[int]:
    return [position.index for position in found.cuts]


shared = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@st.composite
def goals(draw: st.DrawFn, least: int = 1) -> Goal:
    stages = draw(st.integers(least, 4))
    speeds = st.sampled_from([0.5, 1.0, 1.0, 4.0])
    rooms = st.one_of(st.none(), st.integers(20, 900).map(lambda count: count * MIB))
    places = [Place(speed=draw(speeds), memory_bytes=draw(rooms)) for _ in range(stages)]
    return dataclasses.replace(goal_of(stages, draw(st.sampled_from(["throughput", "latency"]))), places=tuple(places))


@given(costs=synthetic(), goal=goals())
@shared
def test_no_plan_is_better_than_the_one_that_is_found(costs: Costs, goal: Goal, unnamed: Liveness) -> None:
    candidates = possible(costs, goal)
    if not candidates:
        refused(unnamed, costs, goal)
        return
    best = min(objective_ms(cuts, costs, goal) for cuts in candidates)

    found = best_plan(unnamed, costs, goal)

    assert len(found.stages) == goal.stages
    assert tuple(indexes(found)) in candidates
    assert (found.slowest_ms if goal.objective == "throughput" else found.latency_ms) == pytest.approx(best)
    assert objective_ms(indexes(found), costs, goal) == pytest.approx(best)


@given(costs=synthetic(), stages=st.integers(2, 3))
@shared
def test_of_plans_with_the_same_slowest_stage_the_smallest_sum_is_taken(
    costs: Costs, stages: int, unnamed: Liveness
) -> None:
    goal = goal_of(stages)
    assume(candidates := possible(costs, goal))
    found = best_plan(unnamed, costs, goal)
    as_fast = [cuts for cuts in candidates if objective_ms(cuts, costs, goal) <= found.slowest_ms * (1 + 1e-12)]

    least = min(sum(stage_times(cuts, costs, goal)) for cuts in as_fast)

    assert sum(stage_times(indexes(found), costs, goal)) == pytest.approx(least)


@given(costs=synthetic(), goal=goals(least=2))
@shared
def test_names_cost_next_to_nothing(costs: Costs, goal: Goal, residual: Liveness) -> None:
    assume(candidates := possible(costs, goal))
    best = min(objective_ms(cuts, costs, goal) for cuts in candidates)

    found = best_plan(residual, costs, goal)
    near = [cuts for cuts in candidates if objective_ms(cuts, costs, goal) <= best * (1 + TOLERANCE) * (1 - 1e-9)]

    assert tuple(indexes(found)) in candidates
    assert objective_ms(indexes(found), costs, goal) <= best * (1 + TOLERANCE) * (1 + 1e-9)
    assert nameless(indexes(found), residual) <= min(nameless(cuts, residual) for cuts in near)


def nameless(cuts: Sequence[int], liveness: Liveness) -> int:
    return sum(not liveness.positions[cut].names for cut in cuts)


@pytest.mark.parametrize(("share", "is_moved"), [(0.02, True), (0.05, False)])
def test_a_name_is_taken_within_three_hundredths_and_not_beyond(
    share: float, is_moved: bool, residual: Liveness
) -> None:
    """The best cut has no name; the one right behind it has, and makes the first stage slower by `share`."""
    unnamed_cut = residual.find("div_1")
    named = residual.find("stem")
    assert (named.index, named.names != ()) == (unnamed_cut.index + 1, True)
    parts = [0.0] * (len(residual.positions) + 1)
    parts[0], parts[named.index], parts[-1] = 100.0, 100.0 * share, 100.0 * (1 - share)
    costs = costs_of(parts, [0] * len(residual.positions))

    found = best_plan(residual, costs, goal_of(2))

    assert bool(found.cuts[0].names) is is_moved


def test_a_fast_stage_gets_more_of_the_model(unnamed: Liveness) -> None:
    costs = even(unnamed)

    alike = best_plan(unnamed, costs, goal_of(3))
    last_is_fast = best_plan(unnamed, costs, goal_of(3, speeds=[1, 1, 4]))

    assert indexes(alike) == [5, 11]
    assert indexes(last_is_fast) == [2, 5]
    assert [stage.model_ms for stage in last_is_fast.stages] == [3.0, 3.0, 3.0]
    assert last_is_fast.slowest_ms < alike.slowest_ms


def test_latency_goes_by_the_bodies_where_the_model_is_the_same_everywhere(unnamed: Liveness) -> None:
    live = [3 * MIB] * len(unnamed.positions)
    live[2], live[4] = 1000, 2000
    costs = costs_of([1.0] * (len(live) + 1), live)

    assert indexes(best_plan(unnamed, costs, goal_of(3, "latency"))) == [2, 4]
    assert indexes(best_plan(unnamed, costs, goal_of(3))) != [2, 4]


def test_one_stage_has_no_cut(residual: Liveness) -> None:
    costs = even(residual)
    found = best_plan(residual, costs, goal_of(1))

    assert found.cuts == ()
    assert found.slowest_ms == pytest.approx(18 + HOP.ms(PIXEL_BYTES, 0))
    assert [(stage.cut, stage.output_bytes) for stage in found.stages] == [(None, 0)]
    assert found.max_instances == (Limits().request_bytes - FRAME_OVERHEAD_BYTES) // PIXEL_BYTES


def test_as_many_stages_as_there_are_places(residual: Liveness) -> None:
    count = len(residual.positions)

    assert indexes(best_plan(residual, even(residual), goal_of(count + 1))) == list(range(count))


def test_stages_add_up_to_the_whole(residual: Liveness) -> None:
    costs = even(residual, live_bytes=5000, batch=4)
    found = plan_at(residual, costs, residual.find_all(["one", "three"]), goal_of(3))

    assert [stage.index for stage in found.stages] == [0, 1, 2]
    assert [stage.cut.name if stage.cut else None for stage in found.stages] == ["one", "three", None]
    assert sum(stage.model_ms for stage in found.stages) == pytest.approx(18)
    assert sum(stage.weight_bytes for stage in found.stages) == costs.weight_bytes[0, -1]
    assert [stage.output_bytes for stage in found.stages] == [5000, 5000, 0]
    assert found.stages[1].hop_ms == pytest.approx(HOP.fixed_ms + HOP.per_mebibyte_ms * 20000 / MIB)
    assert (found.batch, found.threads, found.pixel_bytes) == (4, 1, PIXEL_BYTES)


def test_a_hop_costs_by_what_comes_in_and_what_goes_out() -> None:
    hop = HopCost(fixed_ms=1.0, per_mebibyte_ms=2.0)

    assert hop.ms(0, 0) == 1.0
    assert hop.ms(MIB, MIB) == 3.0
    assert hop.ms(MIB, 0) == hop.ms(0, MIB) == 2.0


@given(live_bytes=st.integers(1, 3 * MIB))
@shared
def test_as_many_instances_as_fit_a_request_everywhere(live_bytes: int, residual: Liveness) -> None:
    found = plan_at(residual, even(residual, live_bytes), [residual.find("one")], goal_of(2))
    largest = max(live_bytes, PIXEL_BYTES)

    assert found.max_instances >= 1
    assert found.max_instances * largest + FRAME_OVERHEAD_BYTES <= Limits().request_bytes
    assert (found.max_instances + 1) * largest + FRAME_OVERHEAD_BYTES > Limits().request_bytes


def test_the_batch_counts_when_places_are_chosen(unnamed: Liveness) -> None:
    live = [2 * MIB] * len(unnamed.positions)
    live[-1] = MIB
    costs = costs_of([1.0] * (len(live) + 1), live, batch=5)

    assert indexes(best_plan(unnamed, costs, goal_of(2))) == [len(live) - 1]


# what cannot be planned


def test_a_cut_that_passes_too_much_is_refused_by_name(residual: Liveness) -> None:
    with pytest.raises(PlanError, match=r"the cut one passes 7\.0 MiB for one picture; at most 6\.0 MiB go into one"):
        plan_at(residual, even(residual, live_bytes=7 * MIB), [residual.find("one")], goal_of(2))


def test_a_cut_that_passes_for_one_picture_but_not_for_the_batch_is_taken(residual: Liveness) -> None:
    costs = even(residual, live_bytes=4 * MIB, batch=8)

    assert plan_at(residual, costs, [residual.find("one")], goal_of(2)).max_instances == 1


def test_cuts_whose_stages_do_not_fit_their_memory_are_refused(residual: Liveness) -> None:
    with pytest.raises(PlanError, match=r"stage 0 holds 3\.0 MiB .*; it may hold 2\.0 MiB: cut elsewhere"):
        plan_at(
            residual,
            even(residual, live_bytes=MIB + MIB // 2),
            [residual.find("one")],
            goal_of(2, memory_bytes=2 * MIB),
        )


def test_times_that_are_all_nothing_still_make_a_plan(unnamed: Liveness) -> None:
    costs = costs_of([0.0] * (len(unnamed.positions) + 1), [0] * len(unnamed.positions))

    assert math.isclose(best_plan(unnamed, costs, goal_of(5)).slowest_ms, HOP.ms(PIXEL_BYTES, 0))
