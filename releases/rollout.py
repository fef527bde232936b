"""One revision takes over a chain, so that no request meets two versions.

    check     the API server and KServe's webhooks see every document, and keep nothing
    apply     the new stages, under names of their own, beside the old ones
    wait      until all of them are ready
    prove     the golden picture goes through the new stages, one after the other
    switch    one update of the InferenceGraph: KServe starts a router for the new stages, then stops the old one
    prove     the golden picture goes through the router
    clear     the old stages go, once no router is left that knows them

Whatever goes wrong before the switch leaves the old version answering, untouched.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from client.cluster import Cluster
from client.diagnosis import is_ready
from client.graphs import GRAPH_LABEL, services_of
from client.readiness import stages_of
from manifests.names import Document
from releases.golden import Agreement
from releases.history import DEPLOYED, KEPT, Release, forget, read_history, record
from releases.probe import prove_graph, prove_stages
from releases.waiting import wait_until

Say = Callable[[str], None]

PART_OF_LABEL = "app.kubernetes.io/part-of"


def roll_out(cluster: Cluster, release: Release, *, timeout_s: float, say: Say) -> Agreement | None:
    """Put `release` in place of what its name answers with now; gives back how well it replies to the golden picture.

    Args:
        timeout_s: how long the new stages, and then the new router, may take to get ready.
        say: told each step, one short line.

    Raises:
        ClusterError: what the cluster refuses, what is not ready in time and why, or a wrong reply.
    """
    graph = release.graph
    others = [document for document in release.documents if document is not graph]
    say("checking every document with the cluster")
    for document in release.documents:
        cluster.apply(document, force=True, dry_run=True)
    release = record(cluster, release)
    say(f"applying revision {release.revision}")
    for document in others:
        cluster.apply(document, force=True)
    services = services_of(graph)
    wait_until(lambda: _stages_problem(cluster, graph), "the stages", timeout_s=timeout_s, say=say)
    if release.golden is not None:
        say("asking the new stages for the golden picture")
        prove_stages(cluster, services, release.namespace, release.golden)
    say("switching the graph")
    cluster.apply(graph, force=True)
    wait_until(lambda: _router_problem(cluster, release, services), "the router", timeout_s=timeout_s, say=say)
    agreement = None
    if release.golden is not None:
        say("asking the chain for the golden picture")
        agreement = prove_graph(cluster, release.name, release.namespace, release.golden)
    record(cluster, replace(release, phase=DEPLOYED))
    say("removing what is not of this revision")
    clear(cluster, release.name, release.namespace, keep=release.documents)
    _forget_oldest(cluster, release)
    return agreement


def clear(cluster: Cluster, name: str, namespace: str, *, keep: Iterable[Document] = ()) -> int:
    """Delete every object of the chain that is not among `keep`; gives back how many there were.

    The graph goes first, so that its router asks nobody who is gone.
    """
    history = read_history(cluster, name, namespace)
    kinds = {(each["apiVersion"], each["kind"]) for release in history for each in release.documents}
    kept = {(each["kind"], each["metadata"]["name"]) for each in keep}
    deleted = 0
    for api_version, kind in sorted(kinds, key=lambda each: (each[1] != "InferenceGraph", each)):
        for found in cluster.select(kind, namespace, labels=f"{PART_OF_LABEL}={name}", api_version=api_version):
            if (kind, found["metadata"]["name"]) not in kept:
                deleted += cluster.delete(kind, namespace, found["metadata"]["name"], api_version=api_version)
    return deleted


def _stages_problem(cluster: Cluster, graph: Document) -> str:
    return next((str(stage) for stage in stages_of(cluster, graph) if not stage.ready), "")


def _router_problem(cluster: Cluster, release: Release, services: Sequence[str]) -> str:
    """Why not every request goes to `services`, and to no others. KServe replaces the router's pods; an old one
    answers for 30 s more after it was told to stop.
    """
    pods = cluster.select("Pod", release.namespace, labels=f"{GRAPH_LABEL}={release.name}")
    new = [pod for pod in pods if _knows(pod, services)]
    if not any(is_ready(pod) for pod in new):
        return "no new pod is ready"
    return f"{len(pods) - len(new)} pods of before still answer" if len(new) < len(pods) else ""


def _knows(pod: Document, services: Sequence[str]) -> bool:
    """KServe hands the router its chain as the argument after --graph-json."""
    arguments = [word for container in pod["spec"]["containers"] for word in container.get("args") or []]
    return all(any(f'"{service}"' in word for word in arguments) for service in services)


def _forget_oldest(cluster: Cluster, release: Release) -> None:
    for old in read_history(cluster, release.name, release.namespace)[:-KEPT]:
        forget(cluster, old)
