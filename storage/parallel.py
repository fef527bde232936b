"""Several files at once: the first failure stops the rest, and so does Ctrl-C."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from threading import Event

from shardline.storage.store import Progress

AT_ONCE = 8  # files that are sent or fetched at the same time


def for_each(names: Sequence[str], move: Callable[[str, Progress], None], progress: Progress) -> None:
    """Call `move(name, progress)` for every name, in threads.

    Raises:
        Exception: the first that `move` raised. The others end at their next call of the progress that they were given.
    """
    stoppable = _Stoppable(progress)
    with ThreadPoolExecutor(max(1, min(AT_ONCE, len(names))), thread_name_prefix="files") as pool:
        try:
            for done in as_completed([pool.submit(move, name, stoppable) for name in names]):
                done.result()
        except BaseException:
            stoppable.stopped.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise


class _StoppedError(Exception):
    """Ends a thread whose work is wanted no more."""


class _Stoppable:
    """Passes on what it is told until `stopped`, then ends the thread that tells."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self.stopped = Event()

    def begin(self, total_bytes: int) -> None:
        self._progress.begin(total_bytes)

    def there(self, size_bytes: int) -> None:
        self._check()
        self._progress.there(size_bytes)

    def moved(self, size_bytes: int) -> None:
        self._check()
        self._progress.moved(size_bytes)

    def _check(self) -> None:
        if self.stopped.is_set():
            raise _StoppedError
