"""Every listed plan is on the Pareto front, limits are reported correctly, and the chosen plan is in the list."""

import itertools
import math

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from services.plan_costs import costs_of, goal_of, objective_ms, stage_memory

from shardline.partition.costs import Costs
from shardline.partition.explain import Explanation, explain
from shardline.partition.liveness import Liveness
from shardline.partition.plan import best_plan
from shardline.partition.search import FRAME_OVERHEAD_BYTES, Goal
from shardline.wire.errors import PlanError
from shardline.wire.limits import MIB, Limits

Figures = tuple[float, float, int, int]


def figures(cuts: tuple[int, ...], costs: Costs, goal: Goal) -> Figures:
    """Slowest stage, latency, largest request, largest stage: from first principles."""
    return (
        objective_ms(cuts, costs, goal_of(goal.stages, "throughput")),
        objective_ms(cuts, costs, goal_of(goal.stages, "latency")),
        max((costs.body_bytes[cut + 1] for cut in cuts), default=0) * costs.batch,
        max(stage_memory(cuts, costs)),
    )


@st.composite
def cases(draw: st.DrawFn) -> tuple[Costs, Goal]:
    whole = st.integers(0, 40)
    sizes = st.integers(1, 8).map(lambda count: count * MIB)
    costs = costs_of(
        draw(st.lists(whole, min_size=18, max_size=18)),
        draw(st.lists(sizes, min_size=17, max_size=17)),
        weights=[each * MIB for each in draw(st.lists(whole, min_size=18, max_size=18))],
    )
    memory = draw(st.one_of(st.none(), st.integers(100, 600).map(lambda count: count * MIB)))
    objective = draw(st.sampled_from(["throughput", "latency"]))
    return costs, goal_of(draw(st.integers(1, 4)), objective, memory_bytes=memory)


def explained(liveness: Liveness, costs: Costs, goal: Goal) -> Explanation:
    try:
        return explain(liveness, costs, goal, best_plan(liveness, costs, goal))
    except PlanError:
        assume(False)
        raise


@given(case=cases())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_none_of_the_list_is_beaten_and_limits_are_told(case: tuple[Costs, Goal], residual: Liveness) -> None:
    costs, goal = case
    told = explained(residual, costs, goal)
    named = [each.index for each in residual.positions if each.names]
    everything = {cuts: figures(cuts, costs, goal) for cuts in itertools.combinations(range(17), goal.stages - 1)}
    at_names = [found for cuts, found in everything.items() if set(cuts) <= set(named)]
    room = math.inf if goal.places[0].memory_bytes is None else goal.places[0].memory_bytes

    assert told.plans == len(everything)
    fitting = [each for each in everything.values() if fits(each, goal, room)]
    assert told.within_limits == len(fitting)
    assert sum(each.taken for each in told.candidates) == 1
    for each in told.candidates:
        found = everything[tuple(position.index for position in each.plan.cuts)]
        assert each.figures == pytest.approx(found)
        assert (not each.over) is fits(found, goal, room)
        if not each.taken and len(named) >= 3 * (goal.stages - 1):
            slack = tuple(value * (1 - 1e-9) for value in found)
            assert not [other for other in at_names if all(a < b for a, b in zip(other, slack, strict=True))]
    plans = [candidate.plan for candidate in told.candidates]
    kept = [plan.slowest_ms if goal.objective == "throughput" else plan.latency_ms for plan in plans]
    assert kept == sorted(kept)


def fits(found: Figures, goal: Goal, room: float) -> bool:
    return found[2] + FRAME_OVERHEAD_BYTES <= goal.limits.request_bytes and found[3] <= room


def test_a_limit_in_the_way_of_something_better_is_named(residual: Liveness) -> None:
    """Between the two halves of the time lies one position, and it passes too much."""
    live = [1000] * 17
    live[8] = 7 * MIB
    costs = costs_of([0.0] * 8 + [50.0, 50.0] + [0.0] * 8, live)

    told = explained(residual, costs, goal_of(2))
    free = explained(residual, costs, goal_of(2, limits=Limits(request_bytes=8 * MIB)))

    assert told.reasons[-1].startswith("without --limit it is ")
    assert f"cut at {residual.positions[8].name}: requests of 7.0 MiB" in told.reasons[-1]
    assert not [reason for reason in free.reasons if "--limit" in reason]


def test_memory_in_the_way_of_something_better_is_named(residual: Liveness) -> None:
    """The time lies at the beginning, the weights at the end."""
    costs = costs_of([50.0, 50.0] + [0.0] * 16, [1000] * 17, weights=[MIB] * 9 + [10 * MIB] * 9)

    told = explained(residual, costs, goal_of(2, memory_bytes=60 * MIB))
    free = explained(residual, costs, goal_of(2, memory_bytes=200 * MIB))

    assert told.within_limits < told.plans == free.within_limits == 17
    assert told.reasons[-1].startswith("without --memory-per-stage it is ")
    assert not [reason for reason in free.reasons if "--memory-per-stage" in reason]


def test_the_plan_taken_is_the_first_where_names_cost_nothing(residual: Liveness) -> None:
    costs = costs_of([1.0] * 18, [1000] * 17)
    told = explained(residual, costs, goal_of(1))

    assert [each.taken for each in told.candidates] == [True]
    assert told.reasons == (f"no plan within the limits has a smaller slowest stage than {18.5:.1f} ms",)
