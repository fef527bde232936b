"""Several things done at once, with their results in order."""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_order(work: Callable[[Item], Result], items: Sequence[Item], jobs: int) -> Iterator[Result]:
    """`work` on every item in `jobs` threads; the results come in the order of the items, each as soon as it can.

    The threads are daemons, unlike those of a ThreadPoolExecutor: Ctrl-C does not wait for replies.
    """
    futures: list[Future[Result]] = [Future() for _ in items]
    waiting = iter(list(zip(items, futures, strict=True)))

    def run() -> None:
        for item, future in waiting:  # next() of a list's iterator is atomic
            try:
                future.set_result(work(item))
            except BaseException as exc:
                future.set_exception(exc)

    for _ in range(min(jobs, len(items))):
        threading.Thread(target=run, daemon=True).start()
    for future in futures:
        yield future.result()
