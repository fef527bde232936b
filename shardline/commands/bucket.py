"""The commands that work on a bucket: `push`, `pull`, `gs` and `emulator`."""

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from shardline.client.cluster import connect, has_kubeconfig
from shardline.console import err, next_step, out
from shardline.options.bucket import takes_bucket_options
from shardline.progress import byte_bar
from shardline.releases.history import recorded_digests
from shardline.storage import push as transfer
from shardline.storage.inventory import Pushed, bundle_roots, delete, garbage, inventory, named_digests
from shardline.storage.open import open_store
from shardline.storage.reachable import check_reachable
from shardline.storage.store import Access
from shardline.wire.errors import ClusterError, MissingPackageError, UsageError
from shardline.wire.limits import format_bytes
from shardline.wire.text import printable

_UriArgument = Annotated[
    str, typer.Argument(metavar="URI", help="URI to which bundles were pushed: gs://bucket/prefix")
]


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: shardline push bundles/resnet50 gs://my-bucket/models")(push)
    app.command(epilog="Example: shardline pull gs://my-bucket/models/resnet50/5421… bundles/resnet50")(pull)
    group = typer.Typer(
        help="List the bundles in a bucket, and delete those that no manifest names.", no_args_is_help=True
    )
    group.command("list", epilog="Example: shardline gs list gs://my-bucket/models")(list_bundles)
    group.command("gc", epilog="Example: shardline gs gc gs://my-bucket/models --manifests manifests-out")(gc)
    app.add_typer(group, name="gs")
    app.command(epilog="Example: shardline emulator --bucket models --port 4443")(emulator)


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
    check_reachable(uri)
    with byte_bar("sending", "sent") as progress:
        pushed = transfer.push(bundle, uri, access=access, progress=progress)
    out.print(pushed)
    next_step("render", str(bundle), "--storage", pushed, "--out", "manifests-out")


@takes_bucket_options
def pull(
    uri: Annotated[str, typer.Argument(metavar="URI", help="URI of the bundle, as `push` and `gs list` print it")],
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Folder of the bundle; an older bundle there is replaced")
    ],
    *,
    access: Access,
) -> None:
    """Download the bundle at URI, check the digest of every file, and put it at FOLDER once it is whole."""
    check_reachable(uri)
    with byte_bar("fetching", "fetched") as progress:
        bundle = transfer.pull(uri, folder, access=access, progress=progress)
    out.print(f"{folder}: {bundle.name} {bundle.digest}")


@takes_bucket_options
def list_bundles(
    uri: _UriArgument,
    *,
    access: Access,
) -> None:
    """List every bundle below URI with its name, digest, size and last change, and whether it is whole or partial."""
    check_reachable(uri)
    store = open_store(uri, access)
    pushed = inventory(store)
    if not pushed:
        below = ", ".join(f"{uri.rstrip('/')}/{root}" for root in bundle_roots(store))
        where = f"; below it, bundles lie at {below}" if below else ""
        err.print(f"[dim]{escape(uri)} holds no bundles{escape(where)}[/dim]")
        return
    _print(uri, pushed)


@takes_bucket_options
def gc(
    uri: _UriArgument,
    manifests: Annotated[
        list[Path] | None, typer.Option(help="YAML file or folder: bundles named there are kept; repeatable")
    ] = None,
    all_but_newest: Annotated[
        int, typer.Option(min=0, help="Number of whole bundles of each name, the newest, that are also kept")
    ] = 0,
    cluster: Annotated[
        bool | None,
        typer.Option(
            "--cluster/--no-cluster",
            help="Also keep the bundles that `shardline rollback` can return to, in all namespaces of a cluster "
            "(default: if there is a kubeconfig)",
        ),
    ] = None,
    context: Annotated[
        list[str] | None,
        typer.Option(help="Context of the kubeconfig for --cluster; repeatable (default: its current context)"),
    ] = None,
    older_than: Annotated[float, typer.Option(min=0, help="Hours: bundles that changed within them are kept")] = 24.0,
    really: Annotated[
        bool, typer.Option("--delete", help="Delete the bundles; without it they are only listed")
    ] = False,
    *,
    access: Access,
) -> None:
    """List the bundles below URI that no manifest names, partial ones included; --delete deletes them."""
    if really and not manifests and not all_but_newest:
        raise UsageError(
            "--delete would delete every bundle: give --manifests or --all-but-newest, or leave --delete out"
        )
    named = named_digests(manifests or [])
    if context or cluster or (cluster is None and has_kubeconfig()):
        named |= _recorded(context or [None])
    check_reachable(uri)
    store = open_store(uri, access)
    useless = garbage(inventory(store), named, older_than=timedelta(hours=older_than), newest=all_but_newest)
    if useless:
        _print(uri, useless)
    for bundle in useless if really else []:
        delete(store, bundle)
    size = format_bytes(sum(bundle.size_bytes for bundle in useless))
    done = "deleted" if really else "not named; --delete deletes them"
    err.print(f"[dim]{len(useless)} bundles, {size}: {done}[/dim]")


def _recorded(contexts: Sequence[str | None]) -> set[str]:
    """Digests in the histories of clusters.

    Raises:
        ClusterError: a cluster does not answer; nothing may be deleted then.
    """
    found: set[str] = set()
    for context in contexts:
        try:
            found |= recorded_digests(connect(context=context))
        except ClusterError as exc:
            raise ClusterError(
                f"the revisions of the cluster cannot be read, --no-cluster leaves them out: {exc}"
            ) from exc
    return found


def _print(uri: str, pushed: list[Pushed]) -> None:
    """Print one line per bundle; a table would cut the URIs, which are there to be copied, to the terminal's width."""
    out.print(f"{'changed (UTC)':16}  {'size':>10}  {'state':7}  URI")
    for bundle in pushed:
        changed = bundle.modified.strftime("%Y-%m-%d %H:%M")
        state = "whole" if bundle.is_whole else "partial"
        where = printable(f"{uri.rstrip('/')}/{bundle.path}")
        out.print(f"{changed:16}  {format_bytes(bundle.size_bytes):>10}  {state:7}  {where}", markup=False)


def emulator(
    folder: Annotated[Path, typer.Option(help="Folder that the objects are kept in")] = Path("bundles/emulator"),
    bucket: Annotated[list[str] | None, typer.Option(help="Name of a bucket; repeatable (default: models)")] = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on; with 0.0.0.0 other machines can read and write, too")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one")] = 4443,
) -> None:
    """Serve Google Cloud Storage's API on this machine, and print the URL; Ctrl-C stops it.

    With STORAGE_EMULATOR_HOST set to the URL, every command that takes gs:// uses it.
    """
    try:
        from shardline.storage.emulator import serve
    except ImportError as exc:
        raise MissingPackageError("the emulator is not installed: pip install 'shardline[local]'") from exc

    def on_ready(url: str) -> None:
        err.print(f"[dim]export STORAGE_EMULATOR_HOST={url}[/dim]")
        out.print(url)

    serve(folder, bucket or ["models"], host=host, port=port, on_ready=on_ready)
