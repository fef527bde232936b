"""The queue and its batches, without threads or clocks: in any order of events, each request gets its own result.

Each instance is a number of its own, and the model computes its square.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from shardline.predictors.batching import Batcher, QueuedRequest, RequestSlice, compute_results

Numbers = list[int]
NumberRequest = QueuedRequest[Numbers, Numbers]


class BadInstanceError(Exception):
    pass


def squares(batch: Sequence[RequestSlice[Numbers, Numbers]]) -> list[Numbers]:
    """Fail as a whole for one bad instance (a negative number), as a call of a model does."""
    numbers = [part.item[part.start : part.stop] for part in batch]
    if any(number < 0 for values in numbers for number in values):
        raise BadInstanceError(f"{numbers}")
    return [[number**2 for number in values] for values in numbers]


def asked(*numbers: int, deadline_ms: int | None = None, arrived_s: float = 0.0) -> NumberRequest:
    return QueuedRequest(item=list(numbers), size=len(numbers), deadline_ms=deadline_ms, arrived_s=arrived_s)


def sizes(batch: Sequence[RequestSlice[Numbers, Numbers]]) -> list[int]:
    return [part.stop - part.start for part in batch]


def run_all(batcher: Batcher[Numbers, Numbers]) -> tuple[list[list[int]], list[NumberRequest]]:
    """Take batches until the queue is empty: the sizes in each batch, and the requests in the order of completion."""
    taken, answered = [], []
    while len(batcher):
        batch = batcher.take()
        taken.append(sizes(batch))
        results = compute_results(squares, batch)
        answered += batcher.complete(batch, results)
    return taken, answered


def queue_of(max_batch: int, *requests: NumberRequest) -> Batcher[Numbers, Numbers]:
    batcher: Batcher[Numbers, Numbers] = Batcher(max_batch)
    for request in requests:
        batcher.add(request)
    return batcher


# any order of arrivals, cancellations, deadlines and two threads that end when they like


@dataclass
class Seen:
    """Requests of one run of the state machine, by their fate, in the order of events."""

    arrived: list[NumberRequest] = field(default_factory=list)
    answered: list[NumberRequest] = field(default_factory=list)
    gone: list[NumberRequest] = field(default_factory=list)
    late: list[NumberRequest] = field(default_factory=list)


class QueueMachine(RuleBasedStateMachine):
    """Requests arrive, clients go, time passes, and two threads take batches and end, in any order."""

    THREADS = 2

    max_batch: ClassVar[int] = 1

    def __init__(self) -> None:
        super().__init__()
        self.batcher: Batcher[Numbers, Numbers] = Batcher(self.max_batch)
        self.running: list[list[RequestSlice[Numbers, Numbers]]] = []
        self.seen = Seen()
        self.now_ms = 0
        self.next = 1

    @rule(size=st.integers(1, 9), bad=st.booleans(), patience_ms=st.none() | st.integers(0, 3))
    def come(self, size: int, bad: bool, patience_ms: int | None) -> None:
        numbers = list(range(self.next, self.next + size))
        self.next += size
        if bad:
            numbers[size // 2] *= -1
        deadline_ms = None if patience_ms is None else self.now_ms + patience_ms
        request = asked(*numbers, deadline_ms=deadline_ms)
        self.seen.arrived.append(request)
        self.batcher.add(request)

    @precondition(lambda self: self.open())
    @rule(data=st.data())
    def go_away(self, data: st.DataObject) -> None:
        request = data.draw(st.sampled_from(self.open()))
        self.seen.gone.append(request)
        self.batcher.discard(request)

    @rule(ms=st.integers(1, 3))
    def time_passes(self, ms: int) -> None:
        self.now_ms += ms

    @precondition(lambda self: len(self.running) < self.THREADS and len(self.batcher) > 0)
    @rule()
    def take(self) -> None:
        late = self.batcher.remove_late(self.now_ms)
        assert all(request.deadline_ms is not None and request.deadline_ms < self.now_ms for request in late)
        self.seen.late += late
        if not len(self.batcher):
            return
        batch = self.batcher.take()
        assert 0 < sum(sizes(batch)) <= self.max_batch
        assert all(part.request.deadline_ms is None or part.request.deadline_ms >= self.now_ms for part in batch)
        assert all(part.request not in self.seen.gone for part in batch)
        self.running.append(batch)

    @precondition(lambda self: self.running)
    @rule(which=st.integers(0, THREADS - 1))
    def end(self, which: int) -> None:
        batch = self.running.pop(which % len(self.running))
        results = compute_results(squares, batch)
        answered = self.batcher.complete(batch, results)
        self.seen.answered += [request for request in answered if request not in self.seen.gone]

    def open(self) -> list[NumberRequest]:
        closed = [*self.seen.answered, *self.seen.gone, *self.seen.late]
        return [request for request in self.seen.arrived if request not in closed]

    @invariant()
    def nobody_is_lost(self) -> None:
        running = [part.request for batch in self.running for part in batch]
        assert sum(request not in running for request in self.open()) == len(self.batcher)

    @invariant()
    def each_is_answered_once_and_by_its_own_result(self) -> None:
        answered = [id(request) for request in [*self.seen.answered, *self.seen.late]]
        assert len(set(answered)) == len(answered)
        for request in self.seen.answered:
            if any(number < 0 for number in request.item):
                assert isinstance(request.error, BadInstanceError)
            else:
                assert request.error is None
                assert [value for result in request.results for value in result] == [
                    number**2 for number in request.item
                ]

    def teardown(self) -> None:
        while self.open():
            while self.running:
                self.end(0)
            if len(self.batcher):
                self.take()
        self.each_is_answered_once_and_by_its_own_result()
        self.nobody_is_lost()


@pytest.mark.parametrize("max_batch", [1, 4, 8])
def test_in_any_order_of_events_each_request_gets_its_own_result_once(max_batch: int) -> None:
    run_state_machine_as_test(type("QueueMachineOfBatch", (QueueMachine,), {"max_batch": max_batch}))


# order and fairness


@given(max_batch=st.integers(1, 8), lengths=st.lists(st.integers(1, 20), max_size=12))
def test_first_come_first_served(max_batch: int, lengths: list[int]) -> None:
    """Requests that fit a batch are completed in the order of arrival, and are not sliced."""
    requests = [asked(*range(1, length + 1)) for length in lengths]

    _, answered = run_all(queue_of(max_batch, *requests))

    fitting = [request for request in requests if request.size <= max_batch]
    assert [request for request in answered if request.size <= max_batch] == fitting
    assert all(len(request.results) == 1 for request in fitting)
    assert sorted(map(id, answered)) == sorted(map(id, requests))


def test_waiting_requests_are_taken_together_up_to_the_limit() -> None:
    batcher = queue_of(4, *(asked(1) for _ in range(10)))

    assert run_all(batcher)[0] == [[1] * 4, [1] * 4, [1] * 2]


def test_a_batch_of_one_joins_nothing() -> None:
    assert run_all(queue_of(1, asked(1, 2, 3), asked(1), asked(1, 2)))[0] == [[1]] * 6


def test_a_request_that_does_not_fit_is_next_and_none_overtakes() -> None:
    small, large, last = asked(1), asked(1, 2, 3, 4), asked(1)

    taken, answered = run_all(queue_of(4, small, large, last))

    assert taken == [[1], [4], [1]]
    assert answered == [small, large, last]


def test_a_large_request_delays_small_ones_by_one_batch_at_a_time() -> None:
    large, small, smaller = asked(*range(1, 21)), asked(1, 2), asked(1)

    taken, answered = run_all(queue_of(4, large, small, smaller))

    assert taken == [[4], [2, 1], [4], [4], [4], [4]]
    assert answered == [small, smaller, large]


@given(count=st.integers(1, 30))
def test_a_large_request_is_not_starved_by_small_ones_that_keep_coming(count: int) -> None:
    """However many arrive meanwhile: between two of its slices each waiting request is served once."""
    large = asked(*range(1, 13))
    batcher = queue_of(4, large)
    slices, waited = 0, 0
    while large.left:
        batch = batcher.take()
        for _ in range(count if waited == 0 else len(batch)):
            batcher.add(asked(1))
        slices, waited = (slices + 1, 1) if batch[0].request is large else (slices, waited + 1)
        assert waited <= count // 4 + 3
        results = compute_results(squares, batch)
        batcher.complete(batch, results)

    assert slices == 3


# when a batch is due


def test_no_waiting_without_a_delay() -> None:
    assert queue_of(8, asked(1, arrived_s=5.0)).wait_s(5.0) == 0


def test_with_a_delay_the_first_request_waits_that_long_for_more() -> None:
    batcher: Batcher[Numbers, Numbers] = Batcher(3, 0.5)
    batcher.add(asked(1, arrived_s=10.0))
    batcher.add(asked(1, arrived_s=10.25))

    assert batcher.wait_s(10.25) == 0.25
    assert batcher.wait_s(10.5) == 0

    batcher.add(asked(1, arrived_s=10.25))

    assert batcher.wait_s(10.25) == 0  # it is full


# batches that fail


def test_a_batch_that_fails_is_computed_slice_by_slice() -> None:
    good, bad, other = asked(1, 2), asked(3, -4), asked(5)

    taken, answered = run_all(queue_of(8, good, bad, other))

    assert taken == [[2, 2, 1]]
    assert answered == [good, bad, other]
    assert (good.results, other.results) == ([[1, 4]], [[25]])
    assert str(bad.error) == "[[3, -4]]"


def test_a_request_with_a_failed_slice_is_not_continued() -> None:
    bad = asked(-1, *range(2, 10))

    assert run_all(queue_of(4, bad)) == ([[4]], [bad])
