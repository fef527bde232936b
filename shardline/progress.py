"""A bar for bytes on their way, and what it came to: how much moved, and how much was there already."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from shardline.console import err


@contextmanager
def byte_bar(label: str, moved: str) -> Iterator["ByteBar"]:
    """A bar on stderr where that is a terminal, and one line at the end: '`moved` 12.3 MB, 190.2 MB were there'."""
    columns = (TextColumn(label), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as bar:
        counted = ByteBar(bar, bar.add_task(label, total=None))
        yield counted
    err.print(f"[dim]{moved} {_megabytes(counted.moved_bytes)}, {_megabytes(counted.there_bytes)} were there[/dim]")


class ByteBar:
    """A shardline.storage.store.Progress."""

    def __init__(self, bar: Progress, task: TaskID) -> None:
        self._bar, self._task = bar, task
        self._lock = Lock()
        self.moved_bytes = self.there_bytes = 0

    def begin(self, total_bytes: int) -> None:
        self._bar.update(self._task, total=total_bytes)

    def there(self, size_bytes: int) -> None:
        with self._lock:
            self.there_bytes += size_bytes
        self._bar.advance(self._task, size_bytes)

    def moved(self, size_bytes: int) -> None:
        with self._lock:
            self.moved_bytes += size_bytes
        self._bar.advance(self._task, size_bytes)


def _megabytes(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:.1f} MB"
