"""Options of the commands that run a chain on this machine."""

from pathlib import Path
from typing import Annotated, Literal, TypedDict

from shardline.options.group import option, takes_options

_PANEL = "Run"


class UpArguments(TypedDict):
    """Arguments of `shardline.manifests.local.up` that a user chooses."""

    port: int
    host: Literal["127.0.0.1", "0.0.0.0"]
    router: Path | None
    threads: int | None


def _up_options(
    port: Annotated[int, option(min=1, max=65535, help="Port on which the chain is served", panel=_PANEL)] = 8080,
    host: Annotated[
        Literal["127.0.0.1", "0.0.0.0"],
        option(
            help="Address on which the chain is served: 127.0.0.1, which other machines cannot reach, or 0.0.0.0, all "
            "addresses of this machine",
            panel=_PANEL,
        ),
    ] = "127.0.0.1",
    router: Annotated[
        Path | None, option(help="Path of KServe's own router binary (default: the built-in router)", panel=_PANEL)
    ] = None,
    threads: Annotated[
        int | None,
        option(
            min=1,
            help="Number of threads per stage (default: the stage's CPU limit, which is best for one client)",
            panel=_PANEL,
        ),
    ] = None,
) -> UpArguments:
    return {"port": port, "host": host, "router": router, "threads": threads}


takes_up_options = takes_options("run", _up_options)
