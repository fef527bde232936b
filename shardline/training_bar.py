"""How a training goes: a bar with loss and pictures a second, or lines where there is no terminal, and the scores."""

import time
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from shardline.console import err

_TOLD_EVERY = 1000  # pictures, where there is no bar
_SMOOTHED = 0.9  # of the loss shown, what each new one leaves


class TrainingBar:
    """A shardline.training.fit.Watch, on stderr."""

    def __init__(self, pictures: int) -> None:
        columns = (
            TextColumn("training"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[state]}"),
            TimeRemainingColumn(),
        )
        self._bar = Progress(*columns, console=err, transient=True, disable=not err.is_terminal)
        self._task = self._bar.add_task("training", total=pictures, state="")
        self._loss: float | None = None
        self._began = 0.0
        self._first: int | None = None
        self._speed, self._pictures = 0.0, 0

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
            self._began, self._first, self._pictures = time.monotonic(), pictures, pictures
        else:
            self._speed = (pictures - self._first) / (time.monotonic() - self._began)
        if not err.is_terminal and pictures // _TOLD_EVERY > self._pictures // _TOLD_EVERY:
            err.print(f"{pictures} pictures: {self._state}")
        self._pictures = pictures
        self._bar.update(self._task, completed=pictures, state=self._state)

    def scored(self, step: int, pictures: int, scores: Mapping[str, float]) -> None:  # noqa: ARG002
        said = ", ".join(f"{name} {value:.3f}" for name, value in scores.items())
        err.print(f"{pictures} pictures: {said}, {self._state}")

    @property
    def _state(self) -> str:
        return f"loss {self._loss or 0:.2f}, {self._speed:.1f} pictures/s"
