"""Options of every command that talks to a cluster: kubeconfig, context and namespace."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from shardline.client.cluster import Cluster, connect
from shardline.options.group import option, takes_options

_PANEL = "Cluster"

WaitOption = Annotated[
    float,
    option("--wait", min=0, help="Seconds within which all pods must become ready", panel=_PANEL),
]
WAIT_S = 600.0  # after which a Deployment's roll-out counts as failed, too


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterOptions:
    """The cluster and the namespace that a command works in, as they were typed."""

    namespace: str | None
    kubeconfig: Path | None
    context: str | None

    def connect(self) -> tuple[Cluster, str]:
        """Connect to the cluster; the namespace is the kubeconfig context's unless --namespace names another.

        Raises:
            ClusterError: no usable kubeconfig, or no such context.
        """
        cluster = connect(self.kubeconfig, self.context)
        return cluster, self.namespace or cluster.namespace


def _cluster_options(
    namespace: Annotated[
        str | None,
        option("--namespace", "-n", help="Namespace of the chain (default: the kubeconfig context's)", panel=_PANEL),
    ] = None,
    kubeconfig: Annotated[
        Path | None, option(help="Path of the kubeconfig (default: $KUBECONFIG, then ~/.kube/config)", panel=_PANEL)
    ] = None,
    context: Annotated[
        str | None, option(help="Context of the kubeconfig (default: its current context)", panel=_PANEL)
    ] = None,
) -> ClusterOptions:
    return ClusterOptions(namespace=namespace, kubeconfig=kubeconfig, context=context)


takes_cluster_options = takes_options("target", _cluster_options)
