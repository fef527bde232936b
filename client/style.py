"""What a stream can show, and what is safe to show there."""

import os
from dataclasses import dataclass
from typing import TextIO


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """What the stream that is written to can show."""

    colour: bool = False
    blocks: bool = True  # bars and boxes of Unicode's, else of ASCII's characters

    @classmethod
    def of(cls, stream: TextIO) -> "Style":
        return cls(
            colour=stream.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb",
            blocks="utf" in (stream.encoding or "").lower(),
        )

    def bold(self, text: str) -> str:
        return self._dyed(text, "1")

    def faint(self, text: str) -> str:
        return self._dyed(text, "2")

    def warning(self, text: str) -> str:
        return self._dyed(text, "33")

    def _dyed(self, text: str, code: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self.colour and text else text


def printable(text: str) -> str:
    """One line that a terminal shows and does not obey: file names and servers may hold anything."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)
