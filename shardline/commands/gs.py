"""The command `shardline gs`: list the bundles in a bucket, and delete those that no manifest names."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from shardline.console import err, out
from shardline.options.bucket import takes_bucket_options
from shardline.storage.inventory import Pushed, delete, garbage, inventory, named_digests
from shardline.storage.open import open_store
from shardline.storage.store import Access
from shardline.wire.errors import StorageError

UriArgument = Annotated[str, typer.Argument(metavar="URI", help="URI to which bundles were pushed: gs://bucket/prefix")]


def register(app: typer.Typer) -> None:
    group = typer.Typer(
        help="List the bundles in a bucket, and delete those that no manifest names.", no_args_is_help=True
    )
    group.command("list", epilog="Example: shardline gs list gs://my-bucket/models")(list_bundles)
    group.command("gc", epilog="Example: shardline gs gc gs://my-bucket/models --manifests manifests-out")(gc)
    app.add_typer(group, name="gs")


@takes_bucket_options
def list_bundles(
    uri: UriArgument,
    *,
    access: Access,
) -> None:
    """List every bundle below URI with its name, digest, size and last change, and whether it is whole or partial."""
    store = open_store(uri, access)
    pushed = inventory(store)
    if not pushed:
        err.print(f"[dim]{uri} holds no bundles[/dim]")
        return
    _print(uri, pushed)


@takes_bucket_options
def gc(
    uri: UriArgument,
    manifests: Annotated[
        list[Path] | None, typer.Option(help="YAML file or folder: bundles named there are kept; repeatable")
    ] = None,
    all_but_newest: Annotated[
        int, typer.Option(min=0, help="Number of whole bundles of each name, the newest, that are also kept")
    ] = 0,
    older_than: Annotated[float, typer.Option(min=0, help="Hours: bundles that changed within them are kept")] = 24.0,
    really: Annotated[
        bool, typer.Option("--delete", help="Delete the bundles; without it they are only listed")
    ] = False,
    *,
    access: Access,
) -> None:
    """List the bundles below URI that no manifest names, partial ones included; --delete deletes them."""
    if really and not manifests and not all_but_newest:
        raise StorageError("nothing says what must stay: give --manifests, --all-but-newest, or leave out --delete")
    named = named_digests(manifests or [])
    store = open_store(uri, access)
    useless = garbage(inventory(store), named, older_than=timedelta(hours=older_than), newest=all_but_newest)
    if useless:
        _print(uri, useless)
    for each in useless if really else []:
        delete(store, each)
    size = _megabytes(sum(each.size_bytes for each in useless))
    done = "deleted" if really else "would be deleted (nothing is, without --delete)"
    err.print(f"[dim]{len(useless)} bundles, {size}: {done}[/dim]")


def _print(uri: str, pushed: list[Pushed]) -> None:
    """No table, whose columns would be cut to the terminal's width: the URIs are there to be copied."""
    out.print(f"{'changed (UTC)':16}  {'size':>10}  {'state':7}  URI")
    for each in pushed:
        changed = each.modified.strftime("%Y-%m-%d %H:%M")
        state = "whole" if each.is_whole else "partial"
        out.print(f"{changed:16}  {_megabytes(each.size_bytes):>10}  {state:7}  {uri.rstrip('/')}/{each.place}")


def _megabytes(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:.1f} MB"
