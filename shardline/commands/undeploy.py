"""The command `shardline undeploy`: remove a chain from a cluster."""

from typing import Annotated

import typer

from shardline.console import out
from shardline.options.cluster import ClusterOptions, takes_cluster_options


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: shardline undeploy resnet50 --namespace vision")(undeploy)


@takes_cluster_options
def undeploy(
    name: Annotated[str, typer.Argument(help="Name of the chain")],
    *,
    target: ClusterOptions,
) -> None:
    """Delete all objects of the chain, its history included. The bundles in the bucket stay (`shardline gs gc`)."""
    from shardline.releases.deploy import undeploy as take_down

    cluster, namespace = target.connect()
    deleted = take_down(cluster, name, namespace)
    out.print(f"{name}: {deleted} objects deleted from namespace {namespace}")
