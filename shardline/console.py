"""The two consoles of the command: results on stdout, everything else on stderr."""

import shlex
from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from shardline.wire.text import printable


class SafeConsole(Console):
    """rich's console, whose texts cannot control the terminal: names of files, classes and objects come from others."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Replace control characters of a text; the line breaks stay, since rich made them."""
        for segment in super().render(renderable, options):
            if segment.control:
                yield segment
            else:
                yield Segment("\n".join(map(printable, segment.text.split("\n"))), segment.style)


out = SafeConsole(soft_wrap=True, highlight=False)
err = SafeConsole(stderr=True, soft_wrap=True, highlight=False)


def say(text: str) -> None:
    """Print on stderr what the command is doing, one line."""
    err.print(printable(text), style="dim", markup=False, highlight=False)


def next_step(*arguments: str) -> None:
    """Print on stderr the command that usually follows, so that it can be copied."""
    say(f"next: {shlex.join(['shardline', *arguments])}")
