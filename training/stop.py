"""Ctrl-C and SIGTERM: asked once, a training stops when its checkpoint is written; asked twice, at once."""

import signal
from types import FrameType
from typing import Self

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopped(Exception):  # noqa: N818  # nothing went wrong
    """A training was stopped and can be resumed; `number` is the signal's."""

    def __init__(self, number: int) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name}")
        self.number = number


class Stop:
    """While it is entered, in the main thread, the signals are remembered instead of obeyed."""

    def __init__(self) -> None:
        self._number: int | None = None
        self._before = {number: signal.getsignal(number) for number in _SIGNALS}

    @property
    def asked(self) -> bool:
        return self._number is not None

    def check(self) -> None:
        """
        Raises:
            Stopped: a signal came.
        """
        if self._number is not None:
            raise Stopped(self._number)

    def __enter__(self) -> Self:
        for number in _SIGNALS:
            signal.signal(number, self._remember)
        return self

    def __exit__(self, *_: object) -> None:
        self._obey()

    def _remember(self, number: int, _: FrameType | None) -> None:
        self._number = number
        self._obey()

    def _obey(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
