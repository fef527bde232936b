"""The two consoles of the command: results on stdout, everything else on stderr."""

import shlex

from rich.console import Console

out = Console(soft_wrap=True, highlight=False)
err = Console(stderr=True, soft_wrap=True, highlight=False)


def say(text: str) -> None:
    """Print on stderr what the command is doing, one line."""
    err.print(text, style="dim", markup=False, highlight=False)


def next_step(*arguments: str) -> None:
    """Print on stderr the command that usually follows, so that it can be copied."""
    say(f"next: {shlex.join(['shardline', *arguments])}")
