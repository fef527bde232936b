"""Work off the event loop: a few threads behind a bounded queue.

The event loop keeps answering liveness probes while a prediction runs. A full queue is refused at once instead of
letting requests pile up; work whose deadline has passed, or whose client has gone, is dropped before it starts.
"""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from wire.errors import DeadlineError, QueueFullError

Result = TypeVar("Result")


class Worker:
    """`threads` run, `max_queue` wait, the rest is refused. One event loop only."""

    def __init__(self, threads: int, max_queue: int, initializer: Callable[[], object] | None = None) -> None:
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="worker", initializer=initializer)
        self._allowed = threads + max_queue
        self._max_queue = max_queue
        self._pending = 0

    async def run(self, work: Callable[[], Result], deadline_ms: int | None = None) -> Result:
        """Run `work` in a thread and give back its result.

        Args:
            deadline_ms: Unix time in milliseconds after which the work is not started.

        Raises:
            QueueFullError: `max_queue` requests wait already.
            DeadlineError: the deadline passed before the work started.
        """
        if self._pending >= self._allowed:
            raise QueueFullError(f"{self._max_queue} requests wait already, no more are allowed: try again later")
        self._pending += 1
        future = asyncio.get_running_loop().run_in_executor(self._executor, _before, deadline_ms, work)
        future.add_done_callback(self._done)
        return await future

    def _done(self, _: object) -> None:
        self._pending -= 1


def now_ms() -> int:
    """Unix time in milliseconds, as deadlines are written."""
    return time.time_ns() // 1_000_000


def check_deadline(deadline_ms: int | None) -> None:
    """
    Raises:
        DeadlineError: the deadline has passed.
    """
    if deadline_ms is not None and (late_ms := now_ms() - deadline_ms) > 0:
        raise DeadlineError(
            f"the deadline passed {late_ms} ms ago and nothing was computed: send less at once or allow more time"
        )


def _before(deadline_ms: int | None, work: Callable[[], Result]) -> Result:
    check_deadline(deadline_ms)
    return work()
