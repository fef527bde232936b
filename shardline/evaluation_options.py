"""The options that every `shardline evaluate` has."""

from pathlib import Path
from typing import Annotated, Literal

import typer

ProgramName = Literal["portable", "compiled", "auto"]

AgainstOption = Annotated[list[Path] | None, typer.Option(help="bundle to run beside it; may be repeated")]
ProgramOption = Annotated[ProgramName, typer.Option(help="which of a bundle's shards: auto takes what fits")]
ReportOption = Annotated[
    Path | None, typer.Option("--out", help="folder for report.html, report.json, the plots and the worst misses")
]
ThreadsOption = Annotated[int | None, typer.Option(min=1, help="torch threads; default: this process's CPUs")]
JsonOption = Annotated[bool, typer.Option("--json", help="print report.json")]
