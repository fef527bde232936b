"""The bounded queue in front of a server's threads."""

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence

import pytest

from shardline.predictors.batching import RequestSlice
from shardline.predictors.worker import Worker, call_each, check_deadline, now_ms
from shardline.wire.errors import DeadlineError, QueueFullError

Work = Callable[[], object]


def worker_of(max_queue: int) -> Worker[Work, object]:
    return Worker(call_each, max_queue=max_queue)


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """An event that work waits for, so that it runs as long as the test wants; set at the end in any case."""
    event = threading.Event()
    yield event
    event.set()


def test_more_than_the_queue_holds_is_refused_at_once(gate: threading.Event) -> None:
    async def scenario() -> None:
        worker = worker_of(max_queue=2)
        running = [asyncio.ensure_future(worker.run(gate.wait)) for _ in range(3)]
        await asyncio.sleep(0)

        with pytest.raises(QueueFullError, match="2 requests wait already"):
            await worker.run(gate.wait)

        gate.set()
        assert await asyncio.gather(*running) == [[True]] * 3
        assert await worker.run(lambda: "free again") == ["free again"]

    asyncio.run(scenario())


def test_with_a_queue_of_zero_a_free_thread_still_works(gate: threading.Event) -> None:
    async def scenario() -> None:
        worker = worker_of(max_queue=0)
        running = asyncio.ensure_future(worker.run(gate.wait))
        await asyncio.sleep(0)
        with pytest.raises(QueueFullError, match="0 requests wait already"):
            await worker.run(gate.wait)
        gate.set()
        assert await running == [True]

    asyncio.run(scenario())


def test_a_refusal_has_a_retry_after() -> None:
    assert QueueFullError.status == 503
    assert QueueFullError.retry_after_s == 1


def test_a_request_whose_deadline_passes_in_the_queue_is_not_computed(gate: threading.Event) -> None:
    worked: list[str] = []

    async def scenario() -> None:
        worker = worker_of(max_queue=2)
        first = asyncio.ensure_future(worker.run(gate.wait))
        deadline_ms = now_ms() + 1
        late = asyncio.ensure_future(worker.run(lambda: worked.append("late"), deadline_ms=deadline_ms))
        while now_ms() <= deadline_ms:
            await asyncio.sleep(0.001)
        gate.set()
        await first

        with pytest.raises(DeadlineError, match="nothing was computed"):
            await late

    asyncio.run(scenario())

    assert worked == []


def test_work_whose_client_has_gone_is_not_started(gate: threading.Event) -> None:
    worked: list[str] = []

    async def scenario() -> None:
        worker = worker_of(max_queue=2)
        first = asyncio.ensure_future(worker.run(gate.wait))
        gone = asyncio.ensure_future(worker.run(lambda: worked.append("gone")))
        await asyncio.sleep(0)
        gone.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gone
        gate.set()
        await first
        assert await worker.run(lambda: "next") == ["next"]

    asyncio.run(scenario())

    assert worked == []


def test_the_event_loop_runs_while_work_runs(gate: threading.Event) -> None:
    async def scenario() -> None:
        worker = worker_of(max_queue=1)
        running = asyncio.ensure_future(worker.run(gate.wait))
        await asyncio.sleep(0)  # the loop turns, though the work waits for the gate that is opened only after it
        gate.set()
        assert await running

    asyncio.run(scenario())


def test_an_exception_of_the_work_reaches_the_caller() -> None:
    async def scenario() -> None:
        with pytest.raises(ZeroDivisionError):
            await worker_of(max_queue=1).run(lambda: 1 / 0)

    asyncio.run(scenario())


class Batches:
    """Compute function for numbers that records its batches; the first call waits for the gate."""

    def __init__(self, gate: threading.Event) -> None:
        self.gate = gate
        self.seen: list[list[int]] = []

    def __call__(self, batch: Sequence[RequestSlice[list[int], int]]) -> list[int]:
        self.seen.append([number for part in batch for number in part.item[part.start : part.stop]])
        assert self.gate.wait(60)
        if 0 in self.seen[-1]:
            raise ZeroDivisionError
        return [sum(part.item[part.start : part.stop]) for part in batch]


def test_requests_that_wait_are_computed_together_and_answered_separately(gate: threading.Event) -> None:
    batches = Batches(gate)

    async def scenario() -> list[list[int]]:
        worker = Worker(batches, max_queue=9, max_batch=3)
        first = asyncio.ensure_future(worker.run([1]))
        await asyncio.sleep(0)
        rest = [asyncio.ensure_future(worker.run(item, len(item))) for item in ([2, 3], [4], [5, 6, 7, 8])]
        await asyncio.sleep(0)
        gate.set()
        return await asyncio.gather(first, *rest)

    assert asyncio.run(scenario()) == [[1], [5], [4], [18, 8]]
    assert batches.seen == [[1], [2, 3, 4], [5, 6, 7], [8]]


def test_a_request_that_fails_does_not_fail_others_of_its_batch(gate: threading.Event) -> None:
    batches = Batches(gate)

    async def scenario() -> list[list[int] | BaseException]:
        worker = Worker(batches, max_queue=9, max_batch=3)
        first = asyncio.ensure_future(worker.run([1]))
        await asyncio.sleep(0)
        rest = [asyncio.ensure_future(worker.run([number])) for number in (2, 0, 3)]
        await asyncio.sleep(0)
        gate.set()
        return await asyncio.gather(first, *rest, return_exceptions=True)

    one, two, zero, three = asyncio.run(scenario())

    assert (one, two, three) == ([1], [2], [3])
    assert isinstance(zero, ZeroDivisionError)
    assert batches.seen == [[1], [2, 0, 3], [2], [0], [3]]


def test_with_a_delay_an_idle_thread_waits_until_a_batch_is_full(gate: threading.Event) -> None:
    """The delay is much longer than the test may take: the batch runs only because it is full."""
    batches = Batches(gate)
    gate.set()

    async def scenario() -> list[list[int]]:
        worker = Worker(batches, max_queue=9, max_batch=3, max_delay_s=3600)
        return await asyncio.gather(*(worker.run([number]) for number in (1, 2, 3)))

    assert asyncio.run(scenario()) == [[1], [2], [3]]
    assert batches.seen == [[1, 2, 3]]


def test_with_a_delay_a_batch_that_stays_small_starts_after_it(gate: threading.Event) -> None:
    batches = Batches(gate)
    gate.set()

    async def scenario() -> list[int]:
        return await Worker(batches, max_queue=9, max_batch=3, max_delay_s=0.01).run([1])

    assert asyncio.run(scenario()) == [1]


def test_a_client_that_goes_while_waiting_frees_its_place(gate: threading.Event) -> None:
    async def scenario() -> None:
        worker = worker_of(max_queue=1)
        first = asyncio.ensure_future(worker.run(gate.wait))
        await asyncio.sleep(0)
        gone = asyncio.ensure_future(worker.run(gate.wait))
        await asyncio.sleep(0)
        gone.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gone
        following = asyncio.ensure_future(worker.run(lambda: "next"))
        await asyncio.sleep(0)
        gate.set()
        assert [await first, await following] == [[True], ["next"]]

    asyncio.run(scenario())


def test_no_deadline_never_passes() -> None:
    check_deadline(None)
    check_deadline(now_ms() + 60_000)
    with pytest.raises(DeadlineError):
        check_deadline(now_ms() - 1)
