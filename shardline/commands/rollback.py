"""`shardline rollback`: an earlier revision answers again."""

from typing import Annotated

import typer

from shardline.cluster_options import (
    WAIT_S,
    ContextOption,
    KubeconfigOption,
    NamespaceOption,
    WaitOption,
    join,
    say,
)
from shardline.commands.deploy import report


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: shardline rollback resnet50 --namespace vision")(rollback)


def rollback(
    name: Annotated[str, typer.Argument(help="of the chain")],
    revision: Annotated[
        int | None, typer.Option(min=1, help="default: the last that was deployed before the newest")
    ] = None,
    namespace: NamespaceOption = None,
    kubeconfig: KubeconfigOption = None,
    context: ContextOption = None,
    wait: WaitOption = WAIT_S,
) -> None:
    """Deploy an earlier revision again, without its bundle or options: the cluster keeps what was applied."""
    from shardline.releases.deploy import rollback as roll_back

    cluster, where = join(kubeconfig, context, namespace)
    report(roll_back(cluster, name, where, revision, timeout_s=wait, say=say))
