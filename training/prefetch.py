"""Prefetching: worker processes draw batches ahead, and they arrive in order."""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

Batch = TypeVar("Batch")

_WAITING = 3  # batches that wait for each process, so that none idles and memory stays small


@contextmanager
def prefetch(draw: Callable[[int], Batch], first: int, stop: int, workers: int) -> Iterator[Iterator[Batch]]:
    """Draw draw(first), ..., draw(stop - 1) in `workers` processes; with 0, here, when a batch is asked for.

    `draw` must be picklable. A batch follows from its number alone, so the number of processes changes nothing.
    """
    if not workers:
        yield map(draw, range(first, stop))
        return
    context = multiprocessing.get_context("spawn")  # a fork would inherit torch's threads half
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker) as pool:
        try:
            yield _in_order(pool, draw, first, stop, _WAITING * workers)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _in_order(
    pool: ProcessPoolExecutor, draw: Callable[[int], Batch], first: int, stop: int, ahead: int
) -> Iterator[Batch]:
    waiting: deque[Future[Batch]] = deque()
    for number in range(first, stop):
        waiting.append(pool.submit(draw, number))
        if len(waiting) > ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _start_worker() -> None:
    """Leave Ctrl-C to the parent process, which ends this one; end this one, too, where the parent was killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
    os._exit(1)
