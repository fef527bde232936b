"""The command `shardline emulator`: serve a bucket on this machine."""

from pathlib import Path
from typing import Annotated

import typer

from shardline.console import err, out
from shardline.wire.errors import StorageError


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: shardline emulator --bucket models --port 4443")(emulator)


def emulator(
    folder: Annotated[Path, typer.Option(help="Folder that the objects are kept in")] = Path("bundles/emulator"),
    bucket: Annotated[list[str] | None, typer.Option(help="Name of a bucket; repeatable (default: models)")] = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on; with 0.0.0.0 other machines can read and write, too")
    ] = ("127.0.0.1"),
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one")] = 4443,
) -> None:
    """Serve Google Cloud Storage's API on this machine, and print the URL; Ctrl-C stops it.

    With STORAGE_EMULATOR_HOST set to the URL, every command that takes gs:// uses it.
    """
    try:
        from shardline.storage.emulator import serve
    except ImportError as exc:
        raise StorageError("the emulator is not installed: pip install 'shardline\\[local]'") from exc

    def on_ready(url: str) -> None:
        err.print(f"[dim]export STORAGE_EMULATOR_HOST={url}[/dim]")
        out.print(url)

    serve(folder, bucket or ["models"], host=host, port=port, on_ready=on_ready)
