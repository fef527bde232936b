"""The plan is the best one there is, by trying them all; limits hold; what cannot be planned is one line."""

import dataclasses
import itertools
import math
from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from partition.capture import capture
from partition.costs import HOP_MS, HOP_MS_PER_MEBIBYTE, Costs
from partition.liveness import Liveness, analyse
from partition.models import load_model
from partition.plan import FRAME_OVERHEAD_BYTES, Plan, plan, plan_at
from wire.errors import PlanError
from wire.limits import Limits

MEBIBYTE = 1024**2
PIXEL_BYTES = 3 * 32 * 32
TOLERANCE = 0.03


@pytest.fixture(scope="module")
def residual() -> Liveness:
    """Seventeen positions, nine of them with names."""
    return analyse(capture(load_model("services.small_models:residual", size=32)))


@pytest.fixture(scope="module")
def unnamed(residual: Liveness) -> Liveness:
    positions = tuple(dataclasses.replace(position, names=()) for position in residual.positions)
    return dataclasses.replace(residual, positions=positions)


def costs_of(parts_ms: Sequence[float], live_bytes: Sequence[int], batch: int = 1) -> Costs:
    """`parts_ms[i]` is what lies between positions i-1 and i."""
    assert len(parts_ms) == len(live_bytes) + 1
    return Costs(
        batch=batch,
        threads=1,
        model_ms=tuple(itertools.accumulate(parts_ms)),
        weight_bytes=tuple(100 * (index + 1) for index in range(len(parts_ms))),
        live_bytes=tuple(live_bytes),
    )


def even(liveness: Liveness, live_bytes: int = 1000, batch: int = 1) -> Costs:
    count = len(liveness.positions)
    return costs_of([1.0] * (count + 1), [live_bytes] * count, batch)


def slowest_ms(cuts: Sequence[int], costs: Costs) -> float:
    """What a stage costs: its part of the model, and sending its tensors on."""
    stages = []
    for start, end in itertools.pairwise([-1, *cuts, len(costs.live_bytes)]):
        sent = costs.live_bytes[end] * costs.batch if end < len(costs.live_bytes) else 0
        before = costs.model_ms[start] if start >= 0 else 0.0
        stages.append(costs.model_ms[end] - before + HOP_MS + HOP_MS_PER_MEBIBYTE * sent / MEBIBYTE)
    return max(stages)


def indexes(found: Plan) -> list[int]:
    return [position.index for position in found.cuts]


def allowed(costs: Costs, limits: Limits) -> list[int]:
    room = limits.request_bytes - FRAME_OVERHEAD_BYTES
    return [index for index, live in enumerate(costs.live_bytes) if live * costs.batch <= room]


@st.composite
def synthetic(draw: st.DrawFn, count: int = 17) -> Costs:
    times = st.floats(0, 20, allow_nan=False, allow_subnormal=False)
    parts = draw(st.lists(times, min_size=count + 1, max_size=count + 1))
    live = draw(st.lists(st.integers(1, 8 * MEBIBYTE), min_size=count, max_size=count))
    return costs_of(parts, live, draw(st.sampled_from((1, 2))))


shared = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@given(costs=synthetic(), stages=st.integers(1, 4))
@shared
def test_no_plan_is_better_than_the_one_that_is_found(costs: Costs, stages: int, unnamed: Liveness) -> None:
    candidates = allowed(costs, Limits())
    assume(len(candidates) >= stages - 1)
    best = min(slowest_ms(cuts, costs) for cuts in itertools.combinations(candidates, stages - 1))

    found = plan(unnamed, costs, stages, Limits())

    assert len(found.stages) == stages
    assert set(indexes(found)) <= set(candidates)
    assert found.slowest_ms == pytest.approx(best)
    assert slowest_ms(indexes(found), costs) == pytest.approx(found.slowest_ms)


@given(costs=synthetic(), stages=st.integers(2, 4))
@shared
def test_names_cost_next_to_nothing(costs: Costs, stages: int, residual: Liveness, unnamed: Liveness) -> None:
    candidates = allowed(costs, Limits())
    assume(len(candidates) >= stages - 1)
    best = plan(unnamed, costs, stages, Limits())

    found = plan(residual, costs, stages, Limits())

    assert set(indexes(found)) <= set(candidates)
    assert indexes(found) == sorted(set(indexes(found)))
    assert found.slowest_ms <= best.slowest_ms * (1 + TOLERANCE) * (1 + 1e-9)
    for at, position in enumerate(found.cuts):
        if not position.names:  # then no module's end would do in its place
            assert not [cuts for cuts in at_names(found, at, residual, candidates) if near(cuts, costs, best)]


def at_names(found: Plan, at: int, liveness: Liveness, candidates: Sequence[int]) -> list[list[int]]:
    """The same cuts with the one at `at` moved to each end of a module."""
    cuts = indexes(found)
    moved = [[*cuts[:at], index, *cuts[at + 1 :]] for index in candidates if liveness.positions[index].names]
    return [cuts for cuts in moved if cuts == sorted(set(cuts))]


def near(cuts: Sequence[int], costs: Costs, best: Plan) -> bool:
    return slowest_ms(cuts, costs) <= best.slowest_ms * (1 + TOLERANCE) * (1 - 1e-9)


@pytest.mark.parametrize(("share", "is_moved"), [(0.02, True), (0.05, False)])
def test_a_name_is_taken_within_three_hundredths_and_not_beyond(
    share: float, is_moved: bool, residual: Liveness
) -> None:
    """The best cut has no name; the one right behind it has, and makes the first stage slower by `share`."""
    nameless = residual.find("div_1")
    named = residual.find("stem")
    assert (named.index, named.names != ()) == (nameless.index + 1, True)
    parts = [0.0] * (len(residual.positions) + 1)
    parts[0], parts[named.index], parts[-1] = 100.0, 100.0 * share, 100.0 * (1 - share)
    costs = costs_of(parts, [0] * len(residual.positions))

    found = plan(residual, costs, 2, Limits())

    assert bool(found.cuts[0].names) is is_moved


def test_one_stage_has_no_cut(residual: Liveness) -> None:
    costs = even(residual)
    found = plan(residual, costs, 1, Limits())

    assert found.cuts == ()
    assert found.slowest_ms == pytest.approx(costs.model_ms[-1] + HOP_MS)
    assert [(stage.cut, stage.output_bytes) for stage in found.stages] == [(None, 0)]
    assert found.max_instances == (Limits().request_bytes - FRAME_OVERHEAD_BYTES) // PIXEL_BYTES


def test_as_many_stages_as_there_are_places(residual: Liveness) -> None:
    count = len(residual.positions)

    assert indexes(plan(residual, even(residual), count + 1, Limits())) == list(range(count))


def test_stages_add_up_to_the_whole(residual: Liveness) -> None:
    costs = even(residual, live_bytes=5000, batch=4)
    found = plan_at(residual, costs, residual.find_all(["one", "three"]), Limits())

    assert [stage.index for stage in found.stages] == [0, 1, 2]
    assert [stage.cut.name if stage.cut else None for stage in found.stages] == ["one", "three", None]
    assert sum(stage.model_ms for stage in found.stages) == pytest.approx(costs.model_ms[-1])
    assert sum(stage.weight_bytes for stage in found.stages) == costs.weight_bytes[-1]
    assert [stage.output_bytes for stage in found.stages] == [5000, 5000, 0]
    assert found.stages[0].hop_ms == pytest.approx(HOP_MS + HOP_MS_PER_MEBIBYTE * 20000 / MEBIBYTE)
    assert (found.batch, found.threads, found.pixel_bytes) == (4, 1, PIXEL_BYTES)


@given(live_bytes=st.integers(1, 3 * MEBIBYTE))
@shared
def test_as_many_instances_as_fit_a_request_everywhere(live_bytes: int, residual: Liveness) -> None:
    found = plan_at(residual, even(residual, live_bytes), [residual.find("one")], Limits())
    largest = max(live_bytes, PIXEL_BYTES)

    assert found.max_instances >= 1
    assert found.max_instances * largest + FRAME_OVERHEAD_BYTES <= Limits().request_bytes
    assert (found.max_instances + 1) * largest + FRAME_OVERHEAD_BYTES > Limits().request_bytes


def test_the_batch_counts_when_places_are_chosen(unnamed: Liveness) -> None:
    live = [2 * MEBIBYTE] * len(unnamed.positions)
    live[-1] = MEBIBYTE
    costs = costs_of([1.0] * (len(live) + 1), live, batch=5)

    assert indexes(plan(unnamed, costs, 2, Limits())) == [len(live) - 1]


# what cannot be planned


def refused(liveness: Liveness, costs: Costs, stages: int, limits: Limits | None = None) -> str:
    with pytest.raises(PlanError) as caught:
        plan(liveness, costs, stages, limits or Limits())
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("stages", [0, -3])
def test_no_stages_are_refused(stages: int, residual: Liveness) -> None:
    assert f"--stages {stages}: a plan has at least 1 stage" in refused(residual, even(residual), stages)


def test_more_stages_than_places_are_refused(residual: Liveness) -> None:
    count = len(residual.positions)
    line = refused(residual, even(residual), count + 2)

    assert f"{count + 2} stages need {count + 1} cuts; only {count} of {count} positions pass" in line


def test_places_that_pass_too_much_for_the_batch_are_refused(residual: Liveness) -> None:
    line = refused(residual, even(residual, live_bytes=2 * MEBIBYTE, batch=4), 2)

    assert "only 0 of 17 positions pass at most 6.0 MB for a batch of 4" in line
    assert "the smallest passes 8.0 MB" in line
    assert "take fewer stages or a smaller --batch" in line


def test_a_cut_that_passes_too_much_is_refused_by_name(residual: Liveness) -> None:
    with pytest.raises(PlanError, match=r"the cut one passes 7\.0 MB for one picture; at most 6\.0 MB go into one"):
        plan_at(residual, even(residual, live_bytes=7 * MEBIBYTE), [residual.find("one")], Limits())


def test_a_cut_that_passes_for_one_picture_but_not_for_the_batch_is_taken(residual: Liveness) -> None:
    costs = even(residual, live_bytes=4 * MEBIBYTE, batch=8)

    assert plan_at(residual, costs, [residual.find("one")], Limits()).max_instances == 1


@pytest.mark.parametrize("stages", [1, 2])
def test_pictures_that_no_request_holds_are_refused(stages: int, residual: Liveness) -> None:
    limits = Limits(request_bytes=FRAME_OVERHEAD_BYTES + PIXEL_BYTES - 1)

    assert "take a smaller --size" in refused(residual, even(residual), stages, limits)
    assert plan(residual, even(residual), stages, Limits(request_bytes=limits.request_bytes + 1)).max_instances == 1


def test_times_that_are_all_nothing_still_make_a_plan(unnamed: Liveness) -> None:
    costs = costs_of([0.0] * (len(unnamed.positions) + 1), [0] * len(unnamed.positions))

    assert math.isclose(plan(unnamed, costs, 5, Limits()).slowest_ms, HOP_MS)
