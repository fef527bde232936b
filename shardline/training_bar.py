"""How a training goes, in the terminal: a bar with loss and pictures a second, and a line for each score."""

import time
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from shardline.console import err

_SMOOTHED = 0.9  # of the loss shown, what each new one leaves


class TrainingBar:
    """A training.fit.Watch, on stderr; the bar only where that is a terminal."""

    def __init__(self, pictures: int) -> None:
        columns = (
            TextColumn("training"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("loss {task.fields[loss]}  {task.fields[speed]}"),
            TimeRemainingColumn(),
        )
        self._bar = Progress(*columns, console=err, transient=True, disable=not err.is_terminal)
        self._task = self._bar.add_task("training", total=pictures, loss="-", speed="")
        self._loss: float | None = None
        self._began = 0.0
        self._first: int | None = None
        self._speed = 0.0

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def stepped(self, step: int, pictures: int, losses: Mapping[str, float], rate: float) -> None:  # noqa: ARG002
        total = sum(losses.values())
        self._loss = total if self._loss is None else _SMOOTHED * self._loss + (1 - _SMOOTHED) * total
        if self._first is None:
            self._began, self._first = time.monotonic(), pictures
        else:
            self._speed = (pictures - self._first) / (time.monotonic() - self._began)
        self._bar.update(
            self._task, completed=pictures, loss=f"{self._loss:.2f}", speed=f"{self._speed:.1f} pictures/s"
        )

    def scored(self, step: int, pictures: int, scores: Mapping[str, float]) -> None:  # noqa: ARG002
        said = ", ".join(f"{name} {value:.3f}" for name, value in scores.items())
        loss = "" if self._loss is None else f", loss {self._loss:.2f}"
        err.print(f"{pictures} pictures: {said}{loss}, {self._speed:.1f} pictures/s")
