"""`shardline undeploy`: take a chain off a cluster."""

from typing import Annotated

import typer

from shardline.cluster_options import ContextOption, KubeconfigOption, NamespaceOption, join
from shardline.console import out


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: shardline undeploy resnet50 --namespace vision")(undeploy)


def undeploy(
    name: Annotated[str, typer.Argument(help="of the chain")],
    namespace: NamespaceOption = None,
    kubeconfig: KubeconfigOption = None,
    context: ContextOption = None,
) -> None:
    """Delete every object of the chain and its history. The bundles stay in their bucket: see `shardline gs gc`."""
    from shardline.releases.deploy import undeploy as take_down

    cluster, where = join(kubeconfig, context, namespace)
    deleted = take_down(cluster, name, where)
    out.print(f"{name}: {deleted} objects deleted from namespace {where}")
