"""Wait for work: results of several threads in order, and a condition that is polled until a deadline."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_order(work: Callable[[Item], Result], items: Sequence[Item], jobs: int) -> Iterator[Result]:
    """Call `work` on every item in `jobs` threads and yield the results in the order of the items.

    The threads are daemons, unlike those of a ThreadPoolExecutor: Ctrl-C does not wait for replies.
    """
    futures: list[Future[Result]] = [Future() for _ in items]
    queue = iter(list(zip(items, futures, strict=True)))

    def run() -> None:
        for item, future in queue:  # next() of a list's iterator is atomic
            try:
                future.set_result(work(item))
            except BaseException as exc:
                future.set_exception(exc)

    for _ in range(min(jobs, len(items))):
        threading.Thread(target=run, daemon=True).start()
    for future in futures:
        yield future.result()


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
