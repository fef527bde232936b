"""Who may reach which pod, at the level that a NetworkPolicy knows: addresses and ports.

    anyone ─▶ router ─▶ every predictor, where the transformer is a step of its own; and where it is not:
    anyone ─▶ router ─▶ stage 0's transformer ─▶ stage 0's predictor        router ─▶ the other predictors

A NetworkPolicy sees no paths. That nobody unloads a model through the pods that may be reached, `POST
/v2/repository/models/…/unload`, is for the servers to refuse. Nodes reach their own pods whatever a policy says, so
probes and port-forwards work.
"""

import re
from dataclasses import dataclass

from shardline.manifests.names import COMPONENT_LABEL, GRAPH_LABEL, PART_OF, STAGE, Document, Names
from shardline.wire.errors import ManifestError

HTTP_PORT = 8080

_NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """Attributes:
    policies: whether NetworkPolicies are written at all.
    allow_namespaces: whose pods may reach every pod of the chain, e.g. Prometheus' namespace.
    """

    policies: bool = True
    allow_namespaces: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in self.allow_namespaces:
            if not _NAMESPACE.fullmatch(name):
                raise ManifestError(f"{name!r} is no namespace: lower-case letters, digits and '-'")
        if self.allow_namespaces and not self.policies:
            raise ManifestError("without a NetworkPolicy every namespace is let in: leave out --allow-namespace")

    def documents(self, names: Names) -> list[Document]:
        """They select the pods of all versions of the chain.

        Without a graph the transformer is the way in, and open. The policy of a chain whose transformer is a step has a
        name of its own: a version that has it otherwise may still answer, and keeps its policies until it goes.
        """
        if not self.policies:
            return []
        if names.transformer:
            everything = {"matchLabels": {PART_OF: names.app, COMPONENT_LABEL: "predictor"}}
            return [self._policy(names, "steps", everything, {GRAPH_LABEL: str(names.graph)})]
        transformer = {PART_OF: names.app, COMPONENT_LABEL: "transformer"}
        predictors = {PART_OF: names.app, COMPONENT_LABEL: "predictor"}
        first = {"matchLabels": predictors | {STAGE: "0"}}
        policies = [self._policy(names, "first-stage", first, transformer)]
        if names.graph:
            router = {GRAPH_LABEL: names.graph}
            # Policies add up: one for all predictors would let the router past the transformer.
            others = {"matchLabels": predictors, "matchExpressions": [_is_not(STAGE, "0")]}
            policies.append(self._policy(names, "stages", others, router))
            policies.append(self._policy(names, "transformer", {"matchLabels": transformer}, router))
        return policies

    def _policy(self, names: Names, suffix: str, pods: Document, peer: Document) -> Document:
        sources = [{"podSelector": {"matchLabels": peer}}, *map(_any_pod_in, self.allow_namespaces)]
        return {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": names.metadata(f"{names.app}-{suffix}"),
            "spec": {
                "podSelector": pods,
                "policyTypes": ["Ingress"],
                "ingress": [{"from": sources, "ports": [{"port": HTTP_PORT, "protocol": "TCP"}]}],
            },
        }


def _any_pod_in(namespace: str) -> Document:
    return {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}}


def _is_not(label: str, value: str) -> Document:
    return {"key": label, "operator": "NotIn", "values": [value]}
