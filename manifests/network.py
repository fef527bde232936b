"""Network access to a chain: NetworkPolicies between its pods, and an Ingress or HTTPRoute from outside.

    anyone ─▶ router ─▶ every predictor                       if the transformer is a step of the graph, else:
    anyone ─▶ router ─▶ stage 0's transformer ─▶ stage 0's predictor        router ─▶ the other predictors

The transformer, which decodes the pictures of strangers, and the router reach nothing else. Stages may: their pods
fetch shards from a bucket, whose addresses no policy can name.

A NetworkPolicy knows addresses and ports, not paths: the servers themselves refuse `POST
/v2/repository/models/…/unload`. Nodes reach their own pods under any policy, so probes and port-forwards work.

In Standard mode KServe exposes no graph to the outside. The Ingress or HTTPRoute leads to the router's Service, or,
where a single stage needs no graph, to the transformer's. Its name, `<chain>-public`, is never one of KServe's own,
which are named after the InferenceService.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from shardline.client.labels import COMPONENT_LABEL, GRAPH_LABEL, PART_OF_LABEL, STAGE_LABEL, Document
from shardline.manifests.names import Names
from shardline.wire.errors import UsageError

HTTP_PORT = 8080  # of every pod
SERVICE_PORT = 80  # of the Services that KServe creates

_HTTP = {"port": HTTP_PORT, "protocol": "TCP"}
_DNS = [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]

_NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_HOST = re.compile(r"(?=.{1,253}$)[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(\.[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*")
_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """Attributes:
    policies: render NetworkPolicies.
    allow_namespaces: namespaces whose pods every pod of the chain may reach, and be reached by, e.g. of Prometheus.
    """

    policies: bool = True
    allow_namespaces: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in self.allow_namespaces:
            if not _NAMESPACE.fullmatch(name):
                raise UsageError(f"{name!r} is not a namespace: write lower-case letters, digits and '-'")
        if self.allow_namespaces and not self.policies:
            raise UsageError("--allow-namespace needs NetworkPolicies: leave it out, or --no-network-policy")

    def documents(self, names: Names) -> list[Document]:
        """Render the NetworkPolicies, which select the pods of all versions of the chain.

        Without a graph the transformer takes the requests and is open to all. The policy of a chain whose transformer
        is a step has a name of its own: during a rollout another version, with the transformer as a component, keeps
        its own policies until it is deleted.
        """
        if not self.policies:
            return []
        anywhere = {"matchLabels": {PART_OF_LABEL: names.app}}
        predictors = {PART_OF_LABEL: names.app, COMPONENT_LABEL: "predictor"}
        router = {GRAPH_LABEL: str(names.graph)}
        if names.transformer:
            no_stage = [{"key": STAGE_LABEL, "operator": "DoesNotExist"}]
            step = {"matchLabels": predictors, "matchExpressions": no_stage}
            return [
                self._policy(names, "steps", {"matchLabels": predictors}, sources=[router]),
                self._policy(names, "step-egress", step, sources=[router], targets=[]),
                self._policy(names, "steps-router", {"matchLabels": router}, sources=None, targets=[anywhere]),
            ]
        transformer = {PART_OF_LABEL: names.app, COMPONENT_LABEL: "transformer"}
        first = {"matchLabels": predictors | {STAGE_LABEL: "0"}}
        sources = [router] if names.graph else None
        policies = [
            self._policy(names, "first-stage", first, sources=[transformer]),
            self._policy(names, "transformer", {"matchLabels": transformer}, sources=sources, targets=[first]),
        ]
        if names.graph:
            # Policies add up: one for all predictors would let the router bypass the transformer.
            not_first = {"key": STAGE_LABEL, "operator": "NotIn", "values": ["0"]}
            others = {"matchLabels": predictors, "matchExpressions": [not_first]}
            policies.append(self._policy(names, "stages", others, sources=[router]))
            policies.append(self._policy(names, "router", {"matchLabels": router}, sources=None, targets=[anywhere]))
        return policies

    def _policy(
        self,
        names: Names,
        suffix: str,
        pods: Document,
        *,
        sources: Sequence[Document] | None,
        targets: Sequence[Document] | None = None,
    ) -> Document:
        """Build a policy for `pods`.

        Args:
            sources: labels of the pods that may reach them; None: all may.
            targets: selectors of the pods that they may reach, beside the name server; None: they may reach everything.
        """
        peers = [{"podSelector": {"matchLabels": labels}} for labels in sources or ()]
        admitted = {} if sources is None else {"from": [*peers, *map(_any_pod_in, self.allow_namespaces)]}
        spec: Document = {
            "podSelector": pods,
            "policyTypes": ["Ingress"] if targets is None else ["Ingress", "Egress"],
            "ingress": [{**admitted, "ports": [_HTTP]}],
        }
        if targets is not None:
            spec["egress"] = self._egress(targets)
        return {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": names.metadata(f"{names.app}-{suffix}"),
            "spec": spec,
        }

    def _egress(self, targets: Sequence[Document]) -> list[Document]:
        """Build the rules for what pods may reach: the targets, the name server to find them, allowed namespaces."""
        rules: list[Document] = []
        if targets:
            rules = [{"to": [{"podSelector": pods} for pods in targets], "ports": [_HTTP]}, {"ports": _DNS}]
        if self.allow_namespaces:  # a service mesh's proxy in the pod calls its control plane
            rules.append({"to": [*map(_any_pod_in, self.allow_namespaces)]})
        return rules


def _public_path(names: Names) -> str:
    """Prefix of the paths for the outside. A router has no others; a model server also shows metrics and API."""
    return "/" if names.graph else "/v1/models"


def _any_pod_in(namespace: str) -> Document:
    return {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}}


@dataclass(frozen=True, slots=True, kw_only=True)
class Exposure:
    """Attributes:
    host: host name of the requests; without one nothing is rendered.
    ingress_class: class of the Ingress; None stands for the cluster's default class.
    gateway: 'name' or 'namespace/name' of a Gateway; with it an HTTPRoute is rendered in place of an Ingress.
    tls_secret: name of a Secret with the host's certificate, for an Ingress; a Gateway has its own certificate.
    """

    host: str | None = None
    ingress_class: str | None = None
    gateway: str | None = None
    tls_secret: str | None = None

    def __post_init__(self) -> None:
        if self.host is None:
            if self.ingress_class or self.gateway or self.tls_secret:
                raise UsageError("an Ingress or HTTPRoute needs the host name of the requests: give --ingress-host")
            return
        if not _HOST.fullmatch(self.host):
            raise UsageError(f"{self.host!r} is not a host name: write it as shardline.example.com")
        if self.gateway and (self.ingress_class or self.tls_secret):
            raise UsageError(
                "--gateway excludes --ingress-class and --tls-secret: a Gateway has its own class and certificates"
            )
        for name in (self.ingress_class, self.tls_secret, *(self.gateway or "").split("/")):
            if name and not _NAME.fullmatch(name):
                raise UsageError(f"{name!r} is not an object's name: write lower-case letters, digits, '-' and '.'")

    def documents(self, names: Names, *, timeout_s: int, body_bytes: int) -> list[Document]:
        """Render an HTTPRoute if there is a gateway, else an Ingress; requests may take `timeout_s`."""
        if self.host is None:
            return []
        return [self._route(names, timeout_s) if self.gateway else self._ingress(names, timeout_s, body_bytes)]

    def _ingress(self, names: Names, timeout_s: int, body_bytes: int) -> Document:
        """Build the Ingress. The annotations raise the limits of ingress-nginx, 1 MB and 60 s; others ignore them."""
        annotations = {
            "nginx.ingress.kubernetes.io/proxy-body-size": str(body_bytes),
            "nginx.ingress.kubernetes.io/proxy-read-timeout": str(timeout_s),
        }
        backend = {"service": {"name": names.front, "port": {"number": SERVICE_PORT}}}
        path = {"path": _public_path(names), "pathType": "Prefix", "backend": backend}
        tls = {"tls": [{"hosts": [self.host], "secretName": self.tls_secret}]} if self.tls_secret else {}
        return {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "Ingress",
            "metadata": names.metadata(f"{names.app}-public", annotations=annotations),
            "spec": {
                **({"ingressClassName": self.ingress_class} if self.ingress_class else {}),
                **tls,
                "rules": [{"host": self.host, "http": {"paths": [path]}}],
            },
        }

    def _route(self, names: Names, timeout_s: int) -> Document:
        namespace, _, name = (self.gateway or "").rpartition("/")
        rule = {
            "matches": [{"path": {"type": "PathPrefix", "value": _public_path(names)}}],
            "backendRefs": [{"name": names.front, "port": SERVICE_PORT}],
            "timeouts": {"request": f"{timeout_s}s"},
        }
        return {
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "HTTPRoute",
            "metadata": names.metadata(f"{names.app}-public"),
            "spec": {
                "parentRefs": [{"name": name, **({"namespace": namespace} if namespace else {})}],
                "hostnames": [self.host],
                "rules": [rule],
            },
        }
