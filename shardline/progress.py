"""Progress bars on stderr: pictures or other items counted, bytes transferred, a training with its loss.

Where stderr is no terminal, no bar is drawn: transfers end with one line, and a training prints lines now and then.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from threading import Lock
from types import TracebackType
from typing import Self, TypeVar

from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from shardline.console import err
from shardline.wire.limits import format_bytes

_Item = TypeVar("_Item")
_LINE_EVERY = 1000  # training pictures from line to line, where there is no bar
_SMOOTHING = 0.9  # weight of the earlier losses in the loss that is shown


def _bar(*columns: ProgressColumn) -> Progress:
    return Progress(*columns, console=err, transient=True, disable=not err.is_terminal)


@contextmanager
def count_bar(label: str, total: int) -> Iterator[Callable[..., None]]:
    """Count items up to `total`; the function that it yields is called after each, or with the number that are done."""
    with _bar(TextColumn(label), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()) as bar:
        task = bar.add_task(label, total=total)

        def advance(count: int = 1) -> None:
            bar.advance(task, count)

        yield advance


def track(label: str, items: Sequence[_Item]) -> Iterator[_Item]:
    """Yield the items, and count those that are done."""
    with count_bar(label, len(items)) as advance:
        for item in items:
            yield item
            advance()


@contextmanager
def byte_bar(label: str, moved: str) -> Iterator["ByteBar"]:
    """Count bytes transferred, and print one line at the end: '`moved` 12.3 MiB, skipped 190.2 MiB'."""
    columns = (TextColumn(label), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with _bar(*columns) as bar:
        counted = ByteBar(bar, bar.add_task(label, total=None))
        yield counted
    err.print(f"[dim]{moved} {format_bytes(counted.moved_bytes)}, skipped {format_bytes(counted.skipped_bytes)}[/dim]")


class ByteBar:
    """Bytes that a transfer moved and skipped: a shardline.storage.store.Progress."""

    def __init__(self, bar: Progress, task: TaskID) -> None:
        self._bar, self._task = bar, task
        self._lock = Lock()
        self.moved_bytes = self.skipped_bytes = 0

    def begin(self, total_bytes: int) -> None:
        self._bar.update(self._task, total=total_bytes)

    def skipped(self, size_bytes: int) -> None:
        with self._lock:
            self.skipped_bytes += size_bytes
        self._bar.advance(self._task, size_bytes)

    def moved(self, size_bytes: int) -> None:
        with self._lock:
            self.moved_bytes += size_bytes
        self._bar.advance(self._task, size_bytes)


class TrainingBar:
    """Progress of a training: pictures, smoothed loss and speed; a shardline.training.fit.Watch."""

    def __init__(self) -> None:
        columns = (
            TextColumn("training"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[state]}"),
            TimeRemainingColumn(),
        )
        self._bar = _bar(*columns)
        self._task = self._bar.add_task("training", total=None, state="")
        self._loss: float | None = None
        self._started_at_s = 0.0
        self._first: int | None = None
        self._speed, self._pictures = 0.0, 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def started(self, pictures: int) -> None:
        """Show the bar; `pictures` is the number of pictures of the whole training."""
        self._bar.update(self._task, total=pictures)
        self._bar.start()

    def stepped(self, step: int, pictures: int, losses: Mapping[str, float], rate: float) -> None:  # noqa: ARG002
        """Count up to `pictures`, with the losses of the last step."""
        total = sum(losses.values())
        self._loss = total if self._loss is None else _SMOOTHING * self._loss + (1 - _SMOOTHING) * total
        if self._first is None:
            self._started_at_s, self._first, self._pictures = time.monotonic(), pictures, pictures
        else:
            self._speed = (pictures - self._first) / (time.monotonic() - self._started_at_s)
        if not err.is_terminal and pictures // _LINE_EVERY > self._pictures // _LINE_EVERY:
            err.print(f"{pictures} pictures: {self._state}")
        self._pictures = pictures
        self._bar.update(self._task, completed=pictures, state=self._state)

    def scored(self, step: int, pictures: int, scores: Mapping[str, float]) -> None:  # noqa: ARG002
        """Print the scores of an evaluation."""
        listed = ", ".join(f"{name} {value:.3f}" for name, value in scores.items())
        err.print(f"{pictures} pictures: validation {listed}; {self._state}")

    @property
    def _state(self) -> str:
        return f"training loss {self._loss or 0:.2f}, {self._speed:.1f} pictures/s"
