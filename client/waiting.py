"""Wait for work: results of several threads in order, and a condition that is polled until a deadline."""

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

_AHEAD = 4  # results that may wait to be yielded, for each thread


def in_order(work: Callable[[Item], Result], items: Iterable[Item], jobs: int) -> Iterator[Result]:
    """Call `work` on every item in `jobs` threads and yield the results in the order of the items.

    Items are taken from their iterable as they are needed, and few results wait to be yielded: memory is bounded
    however many there are. The threads are daemons, unlike those of a ThreadPoolExecutor: Ctrl-C does not wait for
    replies.
    """
    tasks: queue.SimpleQueue[tuple[Item, Future[Result]] | None] = queue.SimpleQueue()
    waiting: deque[Future[Result]] = deque()
    threads = 0
    try:
        for item in items:
            if threads < jobs:
                threading.Thread(target=_work_off, args=(work, tasks), daemon=True).start()
                threads += 1
            future: Future[Result] = Future()
            tasks.put((item, future))
            waiting.append(future)
            if len(waiting) >= _AHEAD * jobs:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for _ in range(threads):
            tasks.put(None)


def _work_off(work: Callable[[Item], Result], tasks: "queue.SimpleQueue[tuple[Item, Future[Result]] | None]") -> None:
    while (task := tasks.get()) is not None:
        item, future = task
        try:
            future.set_result(work(item))
        except BaseException as exc:
            future.set_exception(exc)
        del item, future, task  # results are large; the next task may be long in coming


def wait_until(
    condition: Callable[[], Result],
    timeout_s: float,
    *,
    interval_s: float = 0.05,
    growth: float = 1.0,
    max_interval_s: float = 5.0,
) -> Result:
    """Poll `condition` until its value is true, and return that value.

    Args:
        condition: called at least once, also with a timeout of 0.
        interval_s: pause after the first call; each further pause is `growth` times longer, up to `max_interval_s`.

    Raises:
        TimeoutError: the value is still false and the next call would be after `timeout_s`.
    """
    give_up_at = time.monotonic() + timeout_s
    while not (value := condition()):
        if time.monotonic() + interval_s > give_up_at:
            raise TimeoutError(f"the condition did not hold within {timeout_s:g} s")
        time.sleep(interval_s)
        interval_s = min(max_interval_s, interval_s * growth)
    return value
