"""Work off the event loop: a few threads behind one bounded line of requests.

The event loop keeps answering liveness probes while a prediction runs. A full line is refused at once instead of
letting requests pile up; work whose deadline has passed, or whose client has gone, is dropped before it starts. What
waits when a thread gets free is handed to it together, as `shardline.predictors.batching` decides.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Generic

from shardline.predictors.batching import Batcher, Item, Request, Result, Share, outcomes
from shardline.wire.errors import DeadlineError, QueueFullError


class Worker(Generic[Item, Result]):
    """`threads` compute, `max_queue` requests wait, the rest is refused. One event loop only."""

    def __init__(
        self,
        compute: Callable[[Sequence[Share[Item, Result]]], Sequence[Result]],
        *,
        threads: int = 1,
        max_queue: int,
        max_batch: int = 1,
        max_delay_s: float = 0.0,
        initializer: Callable[[], object] | None = None,
    ) -> None:
        """
        Args:
            compute: a batch -> one result a share; called in a thread, again with each alone if it raises.
            max_batch: the most instances in one call of `compute`.
            max_delay_s: how long a free thread waits for a batch to become full.
            initializer: called first in each thread.
        """
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="worker", initializer=initializer)
        self._compute = compute
        self._batcher: Batcher[Item, Result] = Batcher(max_batch, max_delay_s)
        self._answers: dict[Request[Item, Result], asyncio.Future[list[Result]]] = {}
        self._free = threads
        self._max_queue = max_queue
        self._timer: asyncio.TimerHandle | None = None

    async def run(self, item: Item, size: int = 1, deadline_ms: int | None = None) -> list[Result]:
        """Have an item computed, alone or with others, and give back the results of its shares, in order.

        Args:
            size: its instances; more than `max_batch` go in several shares.
            deadline_ms: Unix time in milliseconds after which nothing of it is started.

        Raises:
            QueueFullError: `max_queue` requests wait already.
            DeadlineError: the deadline passed before the work started.
            Exception: what `compute` raised for this item.
        """
        if not self._free and len(self._batcher) >= self._max_queue:
            raise QueueFullError(f"{self._max_queue} requests wait already, no more are allowed: try again later")
        request = Request[Item, Result](item=item, size=size, deadline_ms=deadline_ms, arrived_s=time.monotonic())
        answer: asyncio.Future[list[Result]] = asyncio.get_running_loop().create_future()
        self._answers[request] = answer
        self._batcher.add(request)
        self._start()
        try:
            return await answer
        finally:
            self._batcher.discard(request)
            del self._answers[request]

    def _start(self) -> None:
        """Hand batches to free threads for as long as one is due."""
        now = now_ms()
        for request in self._batcher.late(now):
            request.error = _too_late(now - (request.deadline_ms or now))
            self._answer(request)
        while self._free and len(self._batcher):
            wait_s = self._batcher.wait_s(time.monotonic())
            if wait_s > 0:
                self._start_in(wait_s)
                return
            batch = self._batcher.take()
            self._free -= 1
            done = asyncio.get_running_loop().run_in_executor(self._executor, outcomes, self._compute, batch)
            done.add_done_callback(partial(self._finish, batch))

    def _start_in(self, wait_s: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(wait_s, self._start)

    def _finish(self, batch: Sequence[Share[Item, Result]], done: asyncio.Future[Sequence[Result | Exception]]) -> None:
        self._free += 1
        for request in self._batcher.settle(batch, done.result()):
            self._answer(request)
        self._start()

    def _answer(self, request: Request[Item, Result]) -> None:
        answer = self._answers.get(request)
        if answer is None or answer.done():  # its client has gone
            return
        if request.error is not None:
            answer.set_exception(request.error)
        else:
            answer.set_result(request.results)


def call_each(batch: Sequence[Share[Callable[[], Result], Result]]) -> list[Result]:
    """A `compute` for items that are functions."""
    return [share.item() for share in batch]


def now_ms() -> int:
    """Unix time in milliseconds, as deadlines are written."""
    return time.time_ns() // 1_000_000


def check_deadline(deadline_ms: int | None) -> None:
    """
    Raises:
        DeadlineError: the deadline has passed.
    """
    if deadline_ms is not None and (late_ms := now_ms() - deadline_ms) > 0:
        raise _too_late(late_ms)


def _too_late(late_ms: int) -> DeadlineError:
    return DeadlineError(
        f"the deadline passed {late_ms} ms ago and nothing was computed: send less at once or allow more time"
    )
