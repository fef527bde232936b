"""Batches drawn ahead by other processes, and handed over in order: what is drawn depends on its number alone."""

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

_EACH = 3  # batches that wait for each process


@contextmanager
def drawn_ahead(draw: Callable[[int], Batch], first: int, stop: int, workers: int) -> Iterator[Iterator[Batch]]:
    """draw(first), …, draw(stop - 1), by `workers` processes; by none: here, when it is asked for.

    `draw` must be one that can be pickled. How many processes there are changes nothing in what it gives.
    """
    if not workers:
        yield map(draw, range(first, stop))
        return
    context = multiprocessing.get_context("spawn")  # a fork would inherit torch's threads half
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_begin) as pool:
        try:
            yield _in_order(pool, draw, first, stop, _EACH * workers)
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


def _begin() -> None:
    """Ctrl-C is for the process that trains, which ends this one; and where that was killed, this one ends too."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
    os._exit(1)
