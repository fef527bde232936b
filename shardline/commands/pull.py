"""The command `shardline pull`: download a bundle from a bucket."""

from pathlib import Path
from typing import Annotated

import typer

from shardline.console import out
from shardline.options.bucket import takes_bucket_options
from shardline.progress import byte_bar
from shardline.storage.push import pull as pull_bundle
from shardline.storage.store import Access


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: shardline pull gs://my-bucket/models/resnet50/5421… bundles/resnet50")(pull)


@takes_bucket_options
def pull(
    uri: Annotated[str, typer.Argument(metavar="URI", help="URI of the bundle, as `push` and `gs list` print it")],
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Folder of the bundle; an older bundle there is replaced")
    ],
    *,
    access: Access,
) -> None:
    """Download the bundle at URI, check the digest of every file, and put it at FOLDER in one step."""
    with byte_bar("fetching", "fetched") as progress:
        bundle = pull_bundle(uri, folder, access=access, progress=progress)
    out.print(f"{folder}: {bundle.name} {bundle.digest}")
