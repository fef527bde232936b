"""The command `shardline up`: run rendered manifests as processes on this machine."""

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from shardline.console import err, out
from shardline.manifests.local import up as run_up

_COLOURS = ("cyan", "magenta", "green", "yellow", "blue", "bright_cyan", "bright_magenta")


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: shardline up manifests-out --port 8080")(up)


def up(
    manifests: Annotated[
        Path, typer.Argument(metavar="MANIFESTS", help="YAML file or folder that `shardline render` wrote")
    ],
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port on which the chain is served")] = 8080,
    router: Annotated[
        Path | None, typer.Option(help="Path of KServe's own router binary (default: the built-in router)")
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(
            min=1, help="Number of threads per stage (default: the stage's CPU limit, which is best for one client)"
        ),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Do not print the processes' output")] = False,
) -> None:
    """Start all stages, the transformer and the router; print the URL when all are ready; Ctrl-C stops them."""
    run_up(manifests, port=port, router=router, threads=threads, console=RichConsole(quiet=quiet))


class RichConsole:
    """Print the processes' output on stderr, each process in its colour, and the URL on stdout."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._colours: dict[str, str] = {}

    def log(self, process: str, line: str) -> None:
        if not self._quiet:
            colour = self._colours.setdefault(process, _COLOURS[len(self._colours) % len(_COLOURS)])
            err.print(f"[{colour}]{escape(process)} |[/{colour}] {escape(line)}")

    def progress(self, ready: int, total: int, waiting_for: tuple[str, ...]) -> None:
        if waiting_for:
            err.print(f"[dim]{ready} of {total} ready, waiting for {', '.join(waiting_for)}[/dim]")

    def ready(self, url: str) -> None:
        out.print(url)

    def notice(self, text: str) -> None:
        err.print(f"[bold]{escape(text)}[/bold]")
