"""The command `shardline push`: upload a bundle to a bucket."""

from pathlib import Path
from typing import Annotated

import typer

from shardline.console import out
from shardline.options.bucket import takes_bucket_options
from shardline.progress import byte_bar
from shardline.storage.push import push as push_bundle
from shardline.storage.store import Access


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: shardline push bundles/resnet50 gs://my-bucket/models")(push)


@takes_bucket_options
def push(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="Folder of the bundle")],
    uri: Annotated[
        str,
        typer.Argument(metavar="URI", help="URI below which the bundle is put: gs://bucket/prefix or file:///folder"),
    ],
    *,
    access: Access,
) -> None:
    """Upload the files of BUNDLE that are not below URI yet, and print the URI that `render --storage` takes.

    If it is interrupted, run it again: it uploads the rest. bundle.json goes last, so that nobody takes half a bundle
    for a whole one.
    """
    with byte_bar("sending", "sent") as progress:
        pushed = push_bundle(bundle, uri, access=access, progress=progress)
    out.print(pushed)
