"""Output of the commands that run a chain on this machine: each process in its colour, and the URL on stdout."""

from rich.markup import escape

from shardline.console import err, out
from shardline.manifests.processes import Console

_PROCESS_COLOURS = ("cyan", "magenta", "green", "yellow", "blue", "bright_cyan", "bright_magenta")


class RichConsole(Console):
    """Print the processes' output on stderr, each process in its colour, and the URL on stdout."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._colours: dict[str, str] = {}

    def log(self, process: str, line: str) -> None:
        if not self._quiet:
            colour = self._colours.setdefault(process, _PROCESS_COLOURS[len(self._colours) % len(_PROCESS_COLOURS)])
            err.print(f"[{colour}]{escape(process)} |[/{colour}] {escape(line)}")

    def progress(self, ready: int, total: int, waiting_for: tuple[str, ...]) -> None:
        if waiting_for:
            err.print(f"[dim]{ready} of {total} ready, waiting for {', '.join(waiting_for)}[/dim]")

    def ready(self, url: str) -> None:
        out.print(url)

    def notice(self, text: str) -> None:
        err.print(f"[bold]{escape(text)}[/bold]")
