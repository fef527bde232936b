"""Worker threads behind one bounded queue of requests, so that predictions run off the event loop.

The event loop keeps answering liveness probes while a prediction runs. When the queue is full, requests are refused at
once instead of piling up; requests whose deadline has passed, or whose client has gone, are dropped before they start.
Requests that wait when a thread becomes free are computed together, as `shardline.predictors.batching` decides.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Generic

from shardline.predictors.batching import Batcher, Item, QueuedRequest, RequestSlice, Result, compute_results
from shardline.wire.errors import DeadlineError, QueueFullError


class Worker(Generic[Item, Result]):
    """Threads that compute requests: `max_queue` requests may wait, more are refused. For one event loop."""

    def __init__(
        self,
        compute: Callable[[Sequence[RequestSlice[Item, Result]]], Sequence[Result]],
        *,
        threads: int = 1,
        max_queue: int,
        max_batch: int = 1,
        max_delay_s: float = 0.0,
        initializer: Callable[[], object] | None = None,
    ) -> None:
        """
        Args:
            compute: returns one result for each slice of a batch. It is called in a thread; if it raises, it is called
                again with each slice alone.
            threads: number of batches that are computed at the same time.
            max_queue: the most requests that wait.
            max_batch: the most instances in one call of `compute`.
            max_delay_s: how long a free thread waits for a batch to become full.
            initializer: called first in each thread.
        """
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="worker", initializer=initializer)
        self._compute = compute
        self._batcher: Batcher[Item, Result] = Batcher(max_batch, max_delay_s)
        self._answers: dict[QueuedRequest[Item, Result], asyncio.Future[list[Result]]] = {}
        self._free = threads
        self._max_queue = max_queue
        self._timer: asyncio.TimerHandle | None = None

    async def run(self, item: Item, size: int = 1, deadline_ms: int | None = None) -> list[Result]:
        """Compute an item, alone or in a batch with others, and return the results of its slices, in order.

        Args:
            size: number of its instances; more than `max_batch` are computed in several slices.
            deadline_ms: Unix time in milliseconds after which nothing of it is started.

        Raises:
            QueueFullError: `max_queue` requests wait already.
            DeadlineError: the deadline passed before the work started.
            Exception: raised by `compute` for this item.
        """
        if not self._free and len(self._batcher) >= self._max_queue:
            raise QueueFullError(f"{self._max_queue} requests wait already, no more are allowed: try again later")
        request = QueuedRequest[Item, Result](item=item, size=size, deadline_ms=deadline_ms, arrived_s=time.monotonic())
        answer: asyncio.Future[list[Result]] = asyncio.get_running_loop().create_future()
        self._answers[request] = answer
        self._batcher.add(request)
        self._start()
        expires = self._expire(deadline_ms)
        try:
            return await answer
        finally:
            if expires is not None:
                expires.cancel()
            self._batcher.discard(request)
            del self._answers[request]

    def _expire(self, deadline_ms: int | None) -> asyncio.TimerHandle | None:
        """Wake up at a deadline, so that a request that waits behind a slow one is answered in time."""
        if deadline_ms is None:
            return None
        return asyncio.get_running_loop().call_later((deadline_ms - now_ms() + 1) / 1000, self._start)

    def _start(self) -> None:
        """Start batches in free threads for as long as one is due."""
        now = now_ms()
        for request in self._batcher.remove_late(now):
            request.error = _too_late(now - (request.deadline_ms or now))
            self._answer(request)
        while self._free and len(self._batcher):
            wait_s = self._batcher.wait_s(time.monotonic())
            if wait_s > 0:
                self._start_in(wait_s)
                return
            batch = self._batcher.take()
            self._free -= 1
            done = asyncio.get_running_loop().run_in_executor(self._executor, compute_results, self._compute, batch)
            done.add_done_callback(partial(self._finish, batch))

    def _start_in(self, wait_s: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(wait_s, self._start)

    def _finish(
        self, batch: Sequence[RequestSlice[Item, Result]], done: asyncio.Future[Sequence[Result | Exception]]
    ) -> None:
        self._free += 1
        for request in self._batcher.complete(batch, done.result()):
            self._answer(request)
        self._start()

    def _answer(self, request: QueuedRequest[Item, Result]) -> None:
        answer = self._answers.get(request)
        if answer is None or answer.done():  # its client has gone
            return
        if request.error is not None:
            answer.set_exception(request.error)
        else:
            answer.set_result(request.results)


def call_each(batch: Sequence[RequestSlice[Callable[[], Result], Result]]) -> list[Result]:
    """Compute function for items that are functions: call each."""
    return [part.item() for part in batch]


def now_ms() -> int:
    """Unix time in milliseconds, the unit of deadlines."""
    return time.time_ns() // 1_000_000


def check_deadline(deadline_ms: int | None) -> None:
    """Check that a deadline (Unix time in milliseconds; None: there is none) has not passed.

    Raises:
        DeadlineError: it has passed.
    """
    if deadline_ms is not None and (late_ms := now_ms() - deadline_ms) > 0:
        raise _too_late(late_ms)


def _too_late(late_ms: int) -> DeadlineError:
    return DeadlineError(
        f"the deadline passed {late_ms} ms ago and nothing was computed: send less at once or allow more time"
    )
