"""What `up` has to say while it runs; the command prints it in colour, the default in plain lines."""

import sys
from typing import Protocol


class Console(Protocol):
    def log(self, process: str, line: str) -> None:
        """A line that a process printed."""
        ...

    def progress(self, ready: int, total: int, waiting_for: tuple[str, ...]) -> None:
        """How many processes are ready, until all are for the first time."""
        ...

    def ready(self, url: str) -> None:
        """All are ready: requests go to `url`."""
        ...

    def notice(self, text: str) -> None:
        """One line about something that happened: a process died, all is being stopped."""
        ...


class PlainConsole:
    """Processes' lines to stderr with their names in front, the rest to stdout."""

    def log(self, process: str, line: str) -> None:
        print(f"{process} | {line}", file=sys.stderr, flush=True)

    def progress(self, ready: int, total: int, waiting_for: tuple[str, ...]) -> None:
        if waiting_for:
            print(f"{ready} of {total} ready, waiting for {', '.join(waiting_for)}", flush=True)

    def ready(self, url: str) -> None:
        print(f"ready: {url}", flush=True)

    def notice(self, text: str) -> None:
        print(text, flush=True)
