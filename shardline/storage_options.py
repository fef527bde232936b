"""Options that every command shares which talks to a bucket."""

from pathlib import Path
from typing import Annotated

import typer

KeyFileOption = Annotated[
    Path | None,
    typer.Option("--key-file", help="a service account's JSON key; default: Application Default Credentials"),
]
AnonymousOption = Annotated[bool, typer.Option("--anonymous", help="without credentials, for a public bucket")]
RetryOption = Annotated[
    float, typer.Option("--retry-for", min=0, help="seconds that a broken connection is tried again")
]
