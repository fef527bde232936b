"""Options that every command shares which talks to a cluster."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shardline.console import err

if TYPE_CHECKING:
    from shardline.client.cluster import Cluster

PANEL = "Cluster"

NamespaceOption = Annotated[
    str | None, typer.Option("--namespace", "-n", help="default: the kubeconfig context's", rich_help_panel=PANEL)
]
KubeconfigOption = Annotated[
    Path | None, typer.Option(help="default: $KUBECONFIG, then ~/.kube/config", rich_help_panel=PANEL)
]
ContextOption = Annotated[str | None, typer.Option(help="of the kubeconfig; default: its own", rich_help_panel=PANEL)]
WaitOption = Annotated[
    float, typer.Option("--wait", min=0, help="seconds in which pods must be ready", rich_help_panel=PANEL)
]
WAIT_S = 600.0  # after which a Deployment's roll-out counts as failed, too


def join(kubeconfig: Path | None, context: str | None, namespace: str | None) -> "tuple[Cluster, str]":
    """The cluster, and the namespace that is meant.

    Raises:
        ClusterError: no usable kubeconfig, or no such context.
    """
    from shardline.client.cluster import connect

    cluster = connect(kubeconfig, context)
    return cluster, namespace or cluster.namespace


def say(text: str) -> None:
    """One line of what is being done, on stderr."""
    err.print(text, style="dim", markup=False, highlight=False)
