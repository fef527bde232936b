"""Find the InferenceGraph or InferenceService of a chain, and read its stages from the graph."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shardline.client.labels import MANAGED, MODE_ANNOTATION, Document
from shardline.wire.errors import ClusterError

if TYPE_CHECKING:
    from shardline.client.cluster import Cluster


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """A chain in a cluster: an InferenceGraph, or an InferenceService of one stage. `document` may be out of date."""

    kind: str
    name: str
    namespace: str
    document: Document

    @property
    def service(self) -> str:
        """The Kubernetes Service in front of it, as KServe names it in Standard mode."""
        if self.kind == "InferenceGraph":
            return self.name
        return f"{self.name}-{'transformer' if 'transformer' in self.document['spec'] else 'predictor'}"

    def __str__(self) -> str:
        return f"{self.kind} {self.name} in namespace {self.namespace}"


def find_chain(cluster: "Cluster", name: str | None, namespace: str) -> Chain:
    """Find the InferenceGraph of this name, else the InferenceService.

    Without a name it is the namespace's only InferenceGraph, or if there is none, its only InferenceService that
    Shardline manages.

    Raises:
        ClusterError: there is none, or more than one; the latter are listed.
    """
    return _named(cluster, name, namespace) if name else _only(cluster, namespace)


def _named(cluster: "Cluster", name: str, namespace: str) -> Chain:
    for kind in ("InferenceGraph", "InferenceService"):
        document = cluster.get(kind, namespace, name)
        if document:
            return Chain(kind=kind, name=name, namespace=namespace, document=document)
    found = [str(_chain(document)) for document in _candidates(cluster, namespace)]
    raise ClusterError(
        f"namespace {namespace} has no InferenceGraph or InferenceService {name!r}"
        + (f"; there is {', '.join(found)}" if found else _ELSEWHERE)
    )


_ELSEWHERE = ": choose another --namespace or --context, or deploy a bundle first"


def _only(cluster: "Cluster", namespace: str) -> Chain:
    found = _candidates(cluster, namespace)
    if not found:
        raise ClusterError(f"namespace {namespace} has no InferenceGraph and no InferenceService to ask{_ELSEWHERE}")
    if len(found) > 1:
        kind = found[0]["kind"]
        names = ", ".join(sorted(document["metadata"]["name"] for document in found))
        raise ClusterError(f"namespace {namespace} has {len(found)} {kind}s ({names}): choose one by --name")
    return _chain(found[0])


def _candidates(cluster: "Cluster", namespace: str) -> list[Document]:
    graphs = cluster.select("InferenceGraph", namespace)
    return graphs or cluster.select("InferenceService", namespace, labels=MANAGED)


def _chain(document: Document) -> Chain:
    metadata = document["metadata"]
    return Chain(kind=document["kind"], name=metadata["name"], namespace=metadata["namespace"], document=document)


def services_of(graph: Document) -> list[str]:
    """Names of the InferenceServices in a graph's steps, in the order in which requests reach them, each once."""
    nodes = graph["spec"].get("nodes") or {}
    return list(dict.fromkeys(_walk(nodes, "root", frozenset())))


def _walk(nodes: Document, node: str, above: frozenset[str]) -> Iterator[str]:
    for step in (nodes.get(node) or {}).get("steps") or []:
        if step.get("serviceName"):
            yield step["serviceName"]
        inner = step.get("nodeName")
        if inner and inner not in above | {node}:  # KServe checks for no circles
            yield from _walk(nodes, inner, above | {node})


def is_standard(document: Document) -> bool:
    """Tell whether KServe creates Deployments and Services itself, and no Knative service."""
    annotated = (document["metadata"].get("annotations") or {}).get(MODE_ANNOTATION)
    mode = (document.get("status") or {}).get("deploymentMode") or annotated
    return mode not in ("Knative", "Serverless")


def router_is_stale(graph: Document, deployment: Document) -> bool:
    """Tell whether the router's Deployment still has an older graph: KServe passes the graph as an argument."""
    containers = deployment["spec"]["template"]["spec"]["containers"]
    arguments = containers[0].get("args") or []
    if "--graph-json" not in arguments[:-1]:
        return False
    try:
        running = json.loads(arguments[arguments.index("--graph-json") + 1])
    except ValueError:
        return False
    return _targets(running) != _targets(graph["spec"])


def _targets(spec: Document) -> dict[str, list[tuple[str, str]]]:
    """Steps and their targets by node, without the URLs of services, which KServe adds to the router's copy."""
    return {
        name: [
            (step.get("name", ""), step.get("serviceName") or step.get("nodeName") or step.get("serviceUrl", ""))
            for step in node.get("steps") or []
        ]
        for name, node in (spec.get("nodes") or {}).items()
    }
