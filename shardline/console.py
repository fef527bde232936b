"""What every command prints with: results on stdout, everything else on stderr."""

from rich.console import Console

out = Console(soft_wrap=True, highlight=False)
err = Console(stderr=True, soft_wrap=True, highlight=False)


def say(line: str) -> None:
    """Tell the user what is being done."""
    err.print(f"[dim]{line} …[/dim]")
