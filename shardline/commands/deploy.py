"""The command `shardline deploy`: put a bundle into service on a cluster."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shardline.console import err, out, say
from shardline.options.bucket import takes_bucket_options
from shardline.options.chain import ChainOptions, takes_chain_options
from shardline.options.cluster import WAIT_S, ClusterOptions, WaitOption, takes_cluster_options
from shardline.progress import byte_bar
from shardline.storage.store import Access

if TYPE_CHECKING:
    from shardline.releases.deploy import Deployed


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: shardline deploy bundles/resnet50 --to gs://my-bucket/models --namespace vision")(
        deploy
    )


@takes_chain_options
@takes_bucket_options
@takes_cluster_options
def deploy(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="Folder of the bundle")],
    to: Annotated[str, typer.Option(metavar="URI", help="URI below which bundles are stored: gs://bucket/prefix")],
    name: Annotated[str | None, typer.Option(help="Name of the chain (default: the bundle's name)")] = None,
    create_namespace: Annotated[
        bool, typer.Option("--create-namespace", help="Create the namespace if it does not exist")
    ] = False,
    wait: WaitOption = WAIT_S,
    *,
    target: ClusterOptions,
    access: Access,
    chain: ChainOptions,
) -> None:
    """Push BUNDLE, render and check its manifests, apply them, wait until it is ready, and request its golden picture.

    A version in service keeps answering until the new one has passed; then one update switches the graph, and no
    request meets both versions.
    """
    from shardline.releases.deploy import deploy as deploy_bundle
    from shardline.releases.deploy import make_namespace
    from shardline.storage.bundle_folder import open_bundle
    from shardline.storage.push import destination, push

    described = open_bundle(bundle)
    cluster, namespace = target.connect()
    options = chain(storage=destination(described, to), name=name, namespace=namespace, versioned=True)
    if create_namespace:
        make_namespace(cluster, namespace)
    with byte_bar("sending", "sent") as progress:
        push(bundle, to, access=access, progress=progress)
    report(deploy_bundle(cluster, described, bundle, options, timeout_s=wait, say=say))


def report(deployed: "Deployed") -> None:
    """Print which bundle is in service, and how its reply to the golden picture compares."""
    release = deployed.release
    out.print(f"{release.name} revision {release.revision} answers in namespace {release.namespace}: {release.bundle}")
    if deployed.agreement is None:
        err.print("[dim]the bundle holds no golden picture to ask it for: build it again[/dim]")
    else:
        out.print(f"golden picture: {deployed.agreement}")
