"""Options of the commands that run a chain on this machine."""

from pathlib import Path
from typing import Annotated, TypedDict

from shardline.options.group import option, takes_options

_PANEL = "Run"


class UpArguments(TypedDict):
    """Arguments of `shardline.manifests.local.up` that a user chooses."""

    port: int
    router: Path | None
    threads: int | None


def _up_options(
    port: Annotated[int, option(min=1, max=65535, help="Port on which the chain is served", panel=_PANEL)] = 8080,
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
    return {"port": port, "router": router, "threads": threads}


takes_up_options = takes_options("run", _up_options)
