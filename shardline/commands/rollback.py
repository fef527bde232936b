"""The command `shardline rollback`: put an earlier revision back into service."""

from typing import Annotated

import typer

from shardline.commands.deploy import report
from shardline.console import say
from shardline.options.cluster import WAIT_S, ClusterOptions, WaitOption, takes_cluster_options


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: shardline rollback resnet50 --namespace vision")(rollback)


@takes_cluster_options
def rollback(
    name: Annotated[str, typer.Argument(help="Name of the chain")],
    revision: Annotated[
        int | None,
        typer.Option(min=1, help="Number of the revision (default: the last one deployed before the current one)"),
    ] = None,
    wait: WaitOption = WAIT_S,
    *,
    target: ClusterOptions,
) -> None:
    """Deploy an earlier revision again; the cluster keeps its objects, so neither bundle nor options are needed."""
    from shardline.releases.deploy import rollback as roll_back

    cluster, namespace = target.connect()
    report(roll_back(cluster, name, namespace, revision, timeout_s=wait, say=say))
