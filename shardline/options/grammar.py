"""The option --grammar of the commands that draw, train and evaluate license plates."""

from pathlib import Path
from typing import Annotated

import typer

GrammarOption = Annotated[
    Path | None,
    typer.Option(help="YAML file of the grammar of the plates (default: the grammar of the detector that ships)"),
]
