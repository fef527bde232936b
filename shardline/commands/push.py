"""`shardline push`: a bundle to a bucket."""

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
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="the bundle's folder")],
    uri: Annotated[str, typer.Argument(metavar="URI", help="where bundles lie: gs://bucket/prefix or file:///folder")],
    *,
    access: Access,
) -> None:
    """Send BUNDLE to below URI, skipping what is there; print its own URI, which `render --storage` takes.

    Broken off and repeated, it sends the rest. Nobody sees half a bundle as a whole one: bundle.json goes last.
    """
    with byte_bar("sending", "sent") as progress:
        pushed = push_bundle(bundle, uri, access=access, progress=progress)
    out.print(pushed)
