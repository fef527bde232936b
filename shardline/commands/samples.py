"""`shardline samples`: photographs to try with."""

from pathlib import Path
from typing import Annotated

import typer

from shardline.console import out
from shardline.training.samples import sample_files


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: shardline samples photos")(samples)


def samples(folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder to copy them into")]) -> None:
    """Copy the photographs that ship in scikit-image into FOLDER."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in sample_files():
        (folder / path.name).write_bytes(path.read_bytes())
        out.print(str(folder / path.name))
