"""The options that every `shardline evaluate` has."""

from pathlib import Path
from typing import Annotated, Literal

import typer

ProgramName = Literal["portable", "compiled", "auto"]

PicturesOption = Annotated[
    str,
    typer.Option(
        "--data", help="folder with test/CLASS/*.jpg, or CLASS/*.jpg; or of MNIST's files; or: digits (scikit-learn's)"
    ),
]
CountOption = Annotated[
    int | None, typer.Option(min=1, help="at most so many of the pictures, from everywhere in the list")
]
MistakesOption = Annotated[int, typer.Option(min=0, help="how many of the surest mistakes to show there")]
AgainstOption = Annotated[list[Path] | None, typer.Option(help="bundle to run beside it; may be repeated")]
ProgramOption = Annotated[ProgramName, typer.Option(help="which of a bundle's shards: auto takes what fits")]
ReportOption = Annotated[
    Path | None, typer.Option("--out", help="folder for report.html, report.json, the plots and the worst misses")
]
ThreadsOption = Annotated[int | None, typer.Option(min=1, help="torch threads; default: this process's CPUs")]
JsonOption = Annotated[bool, typer.Option("--json", help="print report.json")]
