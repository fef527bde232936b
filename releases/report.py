"""What is on a cluster under a name: the chain that answers, the revision that was begun, and those before."""

from collections.abc import Sequence
from dataclasses import dataclass

from client.cluster import Cluster
from client.graphs import MANAGED
from client.readiness import chain_state, stages_of
from client.states import ChainState
from releases.history import PENDING, Release, read_history, read_names


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """`live` is what requests reach. `begun` is the newest revision's own stages, while it is not finished."""

    name: str
    namespace: str
    live: ChainState | None
    begun: ChainState | None
    history: Sequence[Release]

    @property
    def ready(self) -> bool:
        return self.live is not None and self.live.ready and self.begun is None


def report(cluster: Cluster, name: str, namespace: str) -> Report:
    """
    Raises:
        ClusterError: the cluster refuses.
    """
    history = read_history(cluster, name, namespace)
    begun = _begun(cluster, history[-1]) if history and history[-1].phase == PENDING else None
    switched = begun is None or cluster.get("InferenceGraph", namespace, name) is not None
    live = chain_state(cluster, name, namespace) if switched else None
    return Report(name=name, namespace=namespace, live=live, begun=begun, history=history)


def names(cluster: Cluster, namespace: str) -> list[str]:
    """Every chain in the namespace, deployed by `deploy` or applied by hand."""
    graphs = cluster.select("InferenceGraph", namespace, labels=MANAGED)
    return sorted({graph["metadata"]["name"] for graph in graphs} | set(read_names(cluster, namespace)))


def _begun(cluster: Cluster, release: Release) -> ChainState:
    graph = release.graph
    return ChainState(name=release.name, namespace=release.namespace, stages=stages_of(cluster, graph))
