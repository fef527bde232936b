"""The one door to the Kubernetes API: plain documents in and out, every failure one line.

`kubernetes` is imported when a connection is made and not before: the client works without it where no cluster is asked
for. Its dynamic client is used for its requests alone. Which kinds a server has is asked here, since the library keeps
that in a file under a name that everyone on the machine can foresee.
"""

import json
import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from shardline.client.kubeconfig import has_kubeconfig, join_own_cluster, read_kubeconfig
from shardline.client.podport import PodPort, open_pod_port
from shardline.client.refusals import is_missing, not_installed, one_line, refusal, root_cause
from shardline.wire.errors import ClusterDownError, ClusterError

Document = dict[str, Any]

FIELD_MANAGER = "shardline"
# what the short names of get, select and delete stand for; documents say it themselves
API_VERSIONS: Mapping[str, str] = {
    "ConfigMap": "v1",
    "ClusterServingRuntime": "serving.kserve.io/v1alpha1",
    "ClusterStorageContainer": "serving.kserve.io/v1alpha1",
    "Deployment": "apps/v1",
    "Event": "v1",
    "HTTPRoute": "gateway.networking.k8s.io/v1",
    "HorizontalPodAutoscaler": "autoscaling/v2",
    "InferenceGraph": "serving.kserve.io/v1alpha1",
    "InferenceService": "serving.kserve.io/v1beta1",
    "Ingress": "networking.k8s.io/v1",
    "Namespace": "v1",
    "NetworkPolicy": "networking.k8s.io/v1",
    "Pod": "v1",
    "PodDisruptionBudget": "policy/v1",
    "ReplicaSet": "apps/v1",
    "ScaledObject": "keda.sh/v1alpha1",
    "Secret": "v1",
    "Service": "v1",
    "ServiceAccount": "v1",
    "ServingRuntime": "serving.kserve.io/v1alpha1",
}

# what passes when the server, or a proxy in front of it, has recovered
_KINDS: Mapping[int, type[ClusterError]] = dict.fromkeys((429, 502, 503, 504), ClusterDownError)
_TIMEOUT_S = (10.0, 60.0)  # to connect; for an answer: webhooks may take 30 s


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """How a kind is addressed."""

    plural: str
    namespaced: bool


def connect(kubeconfig: str | Path | None = None, context: str | None = None) -> "Cluster":
    """To the cluster of a kubeconfig ($KUBECONFIG, else ~/.kube/config), else of the pod that this runs in.

    Raises:
        ClusterError: `kubernetes` is not installed, or there is no usable kubeconfig or context.
    """
    try:
        import kubernetes
    except ImportError as exc:
        raise ClusterError("asking a cluster needs one more package: pip install kubernetes") from exc
    configuration = kubernetes.client.Configuration()
    configuration.retries = 0  # urllib3 would print of each; who waits asks again
    in_cluster = not (kubeconfig or context or has_kubeconfig()) and "KUBERNETES_SERVICE_HOST" in os.environ
    if in_cluster:
        namespace = join_own_cluster(kubernetes.config, configuration)
    else:
        namespace = read_kubeconfig(kubernetes.config, configuration, kubeconfig, context)
    return Cluster(kubernetes, configuration, namespace=namespace, in_cluster=in_cluster)


class Cluster:
    """One API server, with the credentials to ask it. Threads may share it.

    Each method raises ClusterError for what the server refuses and ClusterDownError if it does not answer.
    """

    def __init__(self, kubernetes: Any, configuration: Any, *, namespace: str, in_cluster: bool) -> None:
        self.namespace = namespace  # the context's own, or the pod's
        self.in_cluster = in_cluster  # Services can be asked by their names
        self.server: str = configuration.host
        self._kubernetes = kubernetes
        self._api = kubernetes.client.ApiClient(configuration)
        self._dynamic = kubernetes.dynamic.DynamicClient(self._api, discoverer=_no_discovery)
        self._resources: dict[str, dict[str, Resource]] = {}
        self._discovering = threading.Lock()

    def has(self, kind: str, *, api_version: str | None = None) -> bool:
        """Whether the server knows documents of this kind."""
        return self._find(api_version or API_VERSIONS[kind], kind) is not None

    def get(self, kind: str, namespace: str, name: str, *, api_version: str | None = None) -> Document | None:
        """One document; None if there is none of that name. `namespace` is left aside where a kind has none."""
        path = self._path(kind, namespace, name, api_version)
        try:
            return _document(self._request("get", path, f"get {kind} {name}"))
        except _MissingError:
            return None

    def select(
        self, kind: str, namespace: str, *, labels: str = "", fields: str = "", api_version: str | None = None
    ) -> list[Document]:
        """All documents of a kind whose labels and fields match the selectors; namespace "" is all namespaces."""
        path = self._path(kind, namespace, "", api_version)
        listing = self._request("get", path, f"list {kind}s", label_selector=labels, field_selector=fields)
        shared = {"apiVersion": api_version or API_VERSIONS[kind], "kind": kind}  # items in a list leave both out
        return [shared | item for item in _document(listing).get("items") or []]

    def apply(
        self, document: Document, *, namespace: str | None = None, force: bool = False, dry_run: bool = False
    ) -> Document:
        """Server-side apply -> the document as the server has it then. Unknown fields are refused.

        `namespace` is for documents without one (default: the context's). `force` takes fields over that other tools
        own. With `dry_run` the server checks as it would, webhooks included, and keeps nothing.
        """
        kind, name = document["kind"], document["metadata"]["name"]
        where = document["metadata"].get("namespace") or namespace or self.namespace
        path = self._path(kind, where, name, document["apiVersion"])
        options: dict[str, Any] = {"dry_run": "All"} if dry_run else {}
        applied = self._request(
            "patch",
            path,
            f"apply {kind} {name}",
            body=document,
            content_type="application/apply-patch+yaml",
            field_manager=FIELD_MANAGER,
            force_conflicts="true" if force else "false",
            query_params=[("fieldValidation", "Strict")],
            **options,
        )
        return _document(applied)

    def patch(self, kind: str, namespace: str, name: str, patch: Document, *, api_version: str | None = None) -> None:
        """Merge patch (RFC 7386): lists are replaced whole."""
        path = self._path(kind, namespace, name, api_version)
        self._request(
            "patch", path, f"patch {kind} {name}", body=patch, content_type="application/merge-patch+json",
            field_manager=FIELD_MANAGER,
        )  # fmt: skip

    def delete(
        self, kind: str, namespace: str, name: str, *, foreground: bool = False, api_version: str | None = None
    ) -> bool:
        """False if there was none. `foreground` keeps the document until all that it owns is gone."""
        path = self._path(kind, namespace, name, api_version)
        policy = "Foreground" if foreground else "Background"
        try:
            self._request("delete", path, f"delete {kind} {name}", propagation_policy=policy)
        except _MissingError:
            return False
        return True

    def logs(self, namespace: str, pod: str, container: str, *, tail: int = 20, previous: bool = False) -> str:
        """The last `tail` lines of a container, or of the one before its restart; "" where there is none."""
        query = [("container", container), ("tailLines", str(tail)), ("previous", str(previous).lower())]
        path = f"{self._path('Pod', namespace, pod, None)}/log"
        try:
            text = self._request("get", path, f"read the log of pod {pod}", query_params=query)
        except _MissingError:
            return ""
        return text.decode("utf-8", "replace")

    def open_port(self, namespace: str, pod: str, port: int) -> PodPort:
        """A connection to a port of a pod, through the API server."""
        path = f"{self._path('Pod', namespace, pod, None)}/portforward?ports={port}"
        return open_pod_port(self._api.configuration, path, f"port {port} of pod {pod}")

    def _path(self, kind: str, namespace: str, name: str, api_version: str | None) -> str:
        version = api_version or API_VERSIONS[kind]
        resource = self._resource(version, kind)
        root = f"/apis/{version}" if "/" in version else f"/api/{version}"
        where = f"/namespaces/{quote(namespace, safe='')}" if resource.namespaced and namespace else ""
        return f"{root}{where}/{resource.plural}" + (f"/{quote(name, safe='')}" if name else "")

    def _resource(self, version: str, kind: str) -> Resource:
        resource = self._find(version, kind)
        if resource is None:
            raise ClusterError(not_installed(version, kind, self.server))
        return resource

    def _find(self, version: str, kind: str) -> Resource | None:
        with self._discovering:
            if kind not in self._resources.get(version, {}):
                self._resources[version] = self._discover(version)
            return self._resources[version].get(kind)

    def _discover(self, version: str) -> dict[str, Resource]:
        """The kinds of one API version; none if the server does not know it. Subresources have a slash."""
        path = f"/apis/{version}" if "/" in version else f"/api/{version}"
        try:
            listing = _document(self._request("get", path, f"look up {version}"))
        except _MissingError:
            return {}
        return {
            one["kind"]: Resource(plural=one["name"], namespaced=bool(one["namespaced"]))
            for one in listing.get("resources") or []
            if "/" not in one["name"]
        }

    def _request(self, method: str, path: str, what: str, **options: Any) -> bytes:
        """`what` is being done, for the error's line. Options without a value are left out."""
        from urllib3.exceptions import HTTPError

        options = {name: value for name, value in options.items() if value != ""}
        try:
            answer = self._dynamic.request(method, path, serialize=False, _request_timeout=_TIMEOUT_S, **options)
            return bytes(answer.data)
        except self._kubernetes.client.ApiException as exc:
            if not exc.status:
                raise self._silence(what, exc) from exc
            body = exc.body or b""
            kind = _MissingError if is_missing(exc.status, body) else _KINDS.get(exc.status, ClusterError)
            raise kind(refusal(what, exc.status, body, server=self.server)) from exc
        except (HTTPError, OSError) as exc:
            raise self._silence(what, exc) from exc

    def _silence(self, what: str, exc: BaseException) -> ClusterDownError:
        return ClusterDownError(f"{what}: {self.server} does not answer ({root_cause(exc)})")


class _MissingError(ClusterError):
    """404: there is no such thing."""


def _no_discovery(client: object, cache_file: object) -> None:
    """In place of the library's own, which asks for everything and keeps it in a file."""


def _document(body: bytes) -> Document:
    try:
        document = json.loads(body)
    except ValueError as exc:
        raise ClusterError(f"not a Kubernetes API server: it answered {one_line(repr(body), 80)}") from exc
    if not isinstance(document, dict):
        raise ClusterError(f"not a Kubernetes API server: it answered {one_line(repr(body), 80)}")
    return document
