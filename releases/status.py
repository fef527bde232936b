"""Status of a chain on a cluster: the stages that serve requests, an unfinished revision, and the history."""

from collections.abc import Sequence
from dataclasses import dataclass

from shardline.client.cluster import Cluster
from shardline.client.graphs import find_chain, services_of
from shardline.client.labels import MANAGED, Document
from shardline.client.readiness import ChainState, chain_state, stages_of
from shardline.releases.history import DEPLOYED, Release, read_history, read_names


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainStatus:
    """State of a chain. `live` are the stages that requests reach; `begun` those of an unfinished newest revision."""

    name: str
    namespace: str
    live: ChainState | None
    begun: ChainState | None
    history: Sequence[Release]

    @property
    def finished(self) -> bool:
        """True if the newest revision was deployed completely."""
        return not self.history or self.history[-1].phase == DEPLOYED

    @property
    def ready(self) -> bool:
        """True if the newest revision is deployed and all its stages are ready."""
        return self.finished and self.live is not None and self.live.ready


def chain_status(cluster: Cluster, name: str, namespace: str) -> ChainStatus:
    """Read the status of a chain.

    Raises:
        ClusterError: nothing has that name, or the cluster refuses.
    """
    history = read_history(cluster, name, namespace)
    if not history:
        find_chain(cluster, name, namespace)  # its error lists the chains that exist
    graph = cluster.get("InferenceGraph", namespace, name)
    newest = history[-1] if history else None
    waits = newest is not None and newest.phase != DEPLOYED and not _leads_to(graph, newest)
    return ChainStatus(
        name=name,
        namespace=namespace,
        live=_live(cluster, name, namespace, graph, newest) if graph or not waits else None,
        begun=_stages(cluster, newest) if newest and waits else None,
        history=history,
    )


def chain_names(cluster: Cluster, namespace: str) -> list[str]:
    """List the chains of a namespace, whether deployed by `deploy` or applied by hand."""
    graphs = cluster.select("InferenceGraph", namespace, labels=MANAGED)
    return sorted({graph["metadata"]["name"] for graph in graphs} | set(read_names(cluster, namespace)))


def _leads_to(graph: Document | None, release: Release) -> bool:
    return graph is not None and services_of(graph) == services_of(release.graph)


def _live(cluster: Cluster, name: str, namespace: str, graph: Document | None, newest: Release | None) -> ChainState:
    if newest is not None and graph is None:
        return _stages(cluster, newest, problem="there is no InferenceGraph of that name, so nothing serves requests")
    return chain_state(cluster, name, namespace)


def _stages(cluster: Cluster, release: Release, problem: str = "") -> ChainState:
    stages = stages_of(cluster, release.graph)
    return ChainState(name=release.name, namespace=release.namespace, problem=problem, stages=stages)
