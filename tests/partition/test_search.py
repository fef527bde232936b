"""The search finds the best path of all, and the arrays say which stages keep the limits."""

import itertools
import math
from collections.abc import Callable, Iterable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from services.plan_costs import bounds, costs_of, goal_of, stage_memory, stage_times

from shardline.partition.search import (
    FRAME_OVERHEAD_BYTES,
    allowed,
    best_by_penalty,
    best_path,
    count_paths,
    forbidding,
    stage_ms,
    within_memory,
)
from shardline.wire.limits import MIB, Limits

EDGES = 6


@st.composite
def graphs(draw: st.DrawFn) -> list[np.ndarray]:
    """Costs float64 [edges, edges] of two to four stages, some steps not allowed."""
    step = st.one_of(st.just(math.inf), st.integers(0, 50).map(float))
    row = st.lists(step, min_size=EDGES, max_size=EDGES)
    rows = st.lists(row, min_size=EDGES, max_size=EDGES)
    forward = np.triu(np.ones((EDGES, EDGES), bool), 1)
    return [np.where(forward, np.array(draw(rows)), np.inf) for _ in range(draw(st.integers(2, 4)))]


def paths(costs: list[np.ndarray]) -> list[tuple[tuple[int, ...], list[float]]]:
    """Every allowed path with the costs of its steps, by trying them all."""
    found = []
    for inner in itertools.combinations(range(1, EDGES - 1), len(costs) - 1):
        steps = list(itertools.pairwise([0, *inner, EDGES - 1]))
        values = [float(cost[step]) for cost, step in zip(costs, steps, strict=True)]
        if all(math.isfinite(value) for value in values):
            found.append((inner, values))
    return found


@given(costs=graphs())
@pytest.mark.parametrize(("combine", "total"), [(np.add, sum), (np.maximum, max)])
def test_no_path_is_cheaper(
    costs: list[np.ndarray], combine: np.ufunc, total: Callable[[Iterable[float]], float]
) -> None:
    found = best_path(costs, combine)
    possible = [total(values) for _, values in paths(costs)]

    assert (found is None) == (not possible)
    if found is not None:
        assert found.cost == min(possible)
        assert total(dict(paths(costs))[found.edges]) == found.cost


@given(costs=graphs(), penalised=st.sets(st.integers(1, EDGES - 2)))
def test_the_cheapest_path_of_each_number_of_penalties(costs: list[np.ndarray], penalised: set[int]) -> None:
    penalty = np.array([int(edge in penalised) for edge in range(EDGES)])

    for count, found in enumerate(best_by_penalty(costs, np.add, penalty)):
        possible = [sum(values) for inner, values in paths(costs) if len(penalised & set(inner)) == count]
        assert (found.cost if found else None) == (min(possible) if possible else None)


@given(costs=graphs())
def test_paths_are_counted(costs: list[np.ndarray]) -> None:
    assert count_paths([np.isfinite(cost) for cost in costs]) == len(paths(costs))


def test_stages_that_break_a_limit_are_not_allowed() -> None:
    costs = costs_of([1.0, 2.0, 3.0], [1000, 2 * MIB], weights=[10 * MIB, MIB, MIB])
    limits = Limits(request_bytes=MIB + FRAME_OVERHEAD_BYTES)
    goal = goal_of(2, limits=limits, memory_bytes=11 * MIB)
    first, second = allowed(costs, goal)

    assert first[0, 1]
    assert not first[0, 2], "a body of 2 MiB does not fit a request"
    assert not within_memory(costs, goal)[0][0, 3], "12 MiB of weights do not fit 11 MiB"
    assert second[1, 3]
    assert np.isinf(forbidding(stage_ms(costs, goal), [first, second])[0][0, 2])


def test_times_of_stages_are_those_of_their_pieces() -> None:
    costs = costs_of([1.0, 2.0, 3.0], [1000, 2000])
    goal = goal_of(2, speeds=(1.0, 2.0))
    matrices = stage_ms(costs, goal)

    assert [float(matrix[at]) for matrix, at in zip(matrices, bounds([0], costs), strict=True)] == pytest.approx(
        stage_times([0], costs, goal)
    )
    assert all(np.isinf(matrix[2, 1]) for matrix in matrices)
    assert len(stage_memory([0], costs)) == 2
