"""Output to a terminal: colours and characters that it can show, a progress bar, and a waiting line."""

import os
import shutil
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, TextIO

from shardline.wire.text import printable

if TYPE_CHECKING:
    from shardline.client.readiness import ChainState

_BAR_COLUMNS = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class TerminalStyle:
    """Colours and characters that an output stream can show."""

    colour: bool = False
    blocks: bool = True  # Unicode's bars and boxes, else ASCII characters
    details: bool = False  # also what is printed on demand only, such as other readings of a license plate

    @classmethod
    def of(cls, stream: TextIO) -> "TerminalStyle":
        return cls(
            colour=stream.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb",
            blocks="utf" in (stream.encoding or "").lower(),
        )

    def bold(self, text: str) -> str:
        return self._coloured(text, "1")

    def faint(self, text: str) -> str:
        return self._coloured(text, "2")

    def warning(self, text: str) -> str:
        return self._coloured(text, "33")

    def swatch(self, colour: tuple[int, int, int] | None) -> str:
        """A small square of an RGB colour and a blank (None: blanks as wide); nothing where there are no colours."""
        if not self.colour:
            return ""
        if colour is None:
            return "  "
        red, green, blue = colour
        return self._coloured("■" if self.blocks else "#", f"38;2;{red};{green};{blue}") + " "

    def _coloured(self, text: str, code: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self.colour and text else text


def shorten(text: str, columns: int) -> str:
    """Printable text of at most `columns` characters, with an ellipsis where it was cut."""
    shown = printable(text)
    return shown if len(shown) <= columns else shown[: columns - 1] + "…"


def percent(score: float | None) -> str:
    """A share from 0 to 1 as percent, seven characters wide; None is a dash."""
    return f"{'-':>7}" if score is None else f"{score:>7.2%}"


def bar(share: float | None, style: TerminalStyle) -> str:
    """A bar whose length is a share from 0 to 1, of at most 24 columns."""
    eighths = round(min(1.0, max(0.0, share or 0.0)) * _BAR_COLUMNS * 8)
    if not style.blocks:
        return "#" * (eighths // 8)
    return "█" * (eighths // 8) + " ▏▎▍▌▋▊▉"[eighths % 8].strip()


class ProgressBar:
    """A progress bar on the last line of a terminal, removed before anything else is written there."""

    def __init__(self, total: int, stream: TextIO) -> None:
        self._total = total
        self._stream = stream
        self._shown = total > 1 and stream.isatty()

    def show(self, done: int) -> None:
        columns = min(40, shutil.get_terminal_size().columns - 20)
        if self._shown and columns > 0:
            filled = columns * done // self._total
            bar = "#" * filled + "." * (columns - filled)
            self._write(f"\r[{bar}] {done}/{self._total}")

    def clear(self) -> None:
        if self._shown:
            self._write("\r\x1b[K")

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()


class FrameCounter:
    """The number of frames so far, on the last line of a terminal, removed before anything else is written there."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._shown = stream.isatty()

    def show(self, done: int) -> None:
        if self._shown:
            self._stream.write(f"\r{done} frames")
            self._stream.flush()

    def clear(self) -> None:
        if self._shown:
            self._stream.write("\r\x1b[K")
            self._stream.flush()


class WaitingLine:
    """Report what a chain still waits for: one changing line in a terminal, elsewhere a line for each change.

    A chain that is ready at the first check reports nothing.
    """

    def __init__(self, chain: str, stream: TextIO) -> None:
        self._chain = chain
        self._stream = stream
        self._terminal = stream.isatty()
        self._since = time.monotonic()
        self._last = ""

    def show(self, state: "ChainState") -> None:
        text = printable(state.waiting_for())
        if not text or state.serves:
            return
        if self._terminal:
            line = f"waiting for {self._chain} ({time.monotonic() - self._since:.0f} s): {text}"
            self._stream.write(f"\r\x1b[K{line[: shutil.get_terminal_size().columns - 1]}")
        elif text != self._last:
            self._stream.write(f"waiting for {self._chain}: {text}\n")
        self._last = text
        self._stream.flush()

    def clear(self) -> None:
        if self._terminal and self._last:
            self._stream.write("\r\x1b[K")
            self._stream.flush()
