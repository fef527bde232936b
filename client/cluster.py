"""Access to the Kubernetes API: plain documents in and out, and every failure as one line.

The package `kubernetes` is imported when a connection is made and not before: the client works without it where no
cluster is needed. Only the requests of its dynamic client are used. The kinds that a server knows are looked up here,
since the library caches them in a file whose name everyone on the machine can predict.
"""

import json
import logging
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from logging.handlers import BufferingHandler
from pathlib import Path
from typing import Any
from urllib.parse import quote

from shardline.client.labels import Document
from shardline.client.remedies import api_error, is_missing, kind_not_installed, one_line, root_cause
from shardline.wire.errors import ClusterDownError, ClusterError, MissingObjectError, MissingPackageError

FIELD_MANAGER = "shardline"
# default API versions of get, select and delete; documents hold their own
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

# statuses that end when the server, or a proxy in front of it, has recovered
_ERROR_CLASSES: Mapping[int, type[ClusterError]] = dict.fromkeys((429, 502, 503, 504), ClusterDownError)
_TIMEOUT_S = (10.0, 60.0)  # to connect, and to respond: webhooks may take 30 s
_SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """Plural name of a kind in URLs, and whether its objects belong to a namespace."""

    plural: str
    namespaced: bool


def connect(kubeconfig: str | Path | None = None, context: str | None = None) -> "Cluster":
    """Connect to the cluster of a kubeconfig ($KUBECONFIG, else ~/.kube/config), else of the pod that this runs in.

    Raises:
        MissingPackageError: `kubernetes` is not installed.
        ClusterError: there is no usable kubeconfig or context.
    """
    try:
        import kubernetes
    except ImportError as exc:
        raise MissingPackageError("access to a cluster needs one more package: pip install kubernetes") from exc
    configuration = kubernetes.client.Configuration()
    configuration.retries = 0  # urllib3 would print a line for each; callers that wait ask again
    in_cluster = not (kubeconfig or context or has_kubeconfig()) and "KUBERNETES_SERVICE_HOST" in os.environ
    if in_cluster:
        namespace = _read_service_account(kubernetes.config, configuration)
    else:
        namespace = _read_kubeconfig(kubernetes.config, configuration, kubeconfig, context)
    return Cluster(kubernetes, configuration, namespace=namespace, in_cluster=in_cluster)


def _default_kubeconfig() -> str:
    return os.environ.get("KUBECONFIG") or str(Path("~/.kube/config").expanduser())


def has_kubeconfig() -> bool:
    """Tell whether this user has a kubeconfig ($KUBECONFIG, else ~/.kube/config)."""
    return any(Path(path).exists() for path in _default_kubeconfig().split(os.pathsep) if path)


def _read_service_account(config: Any, configuration: Any) -> str:
    """Fill `configuration` with the pod's service account and return the pod's namespace.

    `config` is the module `kubernetes.config`, as in `_read_kubeconfig`.
    """
    try:
        config.load_incluster_config(client_configuration=configuration)
        return (_SERVICE_ACCOUNT / "namespace").read_text(encoding="utf-8").strip() or "default"
    except (config.ConfigException, OSError) as exc:
        raise ClusterError(
            f"this pod has no service account for access to the cluster ({exc}): "
            "give it one (automountServiceAccountToken) or pass --kubeconfig"
        ) from exc


def _read_kubeconfig(config: Any, configuration: Any, kubeconfig: str | Path | None, context: str | None) -> str:
    """Fill `configuration` from a kubeconfig as kubectl reads it, and return the context's namespace."""
    path = str(kubeconfig or _default_kubeconfig())
    if not any(Path(file).exists() for file in path.split(os.pathsep) if file):
        raise ClusterError(f"no kubeconfig: {path} does not exist; pass --kubeconfig or set KUBECONFIG")
    try:
        with _log_as_error(path):
            config.load_kube_config(path, context, configuration)
        contexts, current = config.list_kube_config_contexts(path)
    except ClusterError:
        raise
    except Exception as exc:  # YAML's errors, KeyError, TypeError, OSError and the library's own
        raise ClusterError(f"kubeconfig {path}: {one_line(str(exc) or type(exc).__name__, 300)}") from exc
    chosen = next((known for known in contexts if known["name"] == context), current)
    return chosen["context"].get("namespace") or "default"


@contextmanager
def _log_as_error(path: str) -> Iterator[None]:
    """Raise what the library only logs: a credential plugin that fails, after which it sends no credentials at all."""
    handler = BufferingHandler(capacity=1000)
    handler.setLevel(logging.ERROR)
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)
    if handler.buffer:
        raise ClusterError(f"kubeconfig {path}: no credentials: {one_line(handler.buffer[0].getMessage(), 300)}")


class Cluster:
    """One API server and the credentials for it. Threads may share it.

    Each method raises ClusterError if the server refuses the request and ClusterDownError if it does not answer.
    """

    def __init__(self, kubernetes: Any, configuration: Any, *, namespace: str, in_cluster: bool) -> None:
        self.namespace = namespace  # the context's own, or the pod's
        self.in_cluster = in_cluster  # Services can be reached by their names
        self.server: str = configuration.host
        self._kubernetes = kubernetes
        self._api = kubernetes.client.ApiClient(configuration)
        self._dynamic = kubernetes.dynamic.DynamicClient(self._api, discoverer=_no_discovery)
        self._resources: dict[str, dict[str, Resource]] = {}
        self._discovering = threading.Lock()

    def has(self, kind: str, *, api_version: str | None = None) -> bool:
        """Tell whether the server knows this kind of object."""
        return self._find(api_version or API_VERSIONS[kind], kind) is not None

    def get(self, kind: str, namespace: str, name: str, *, api_version: str | None = None) -> Document | None:
        """Read one object; None if there is none of that name. `namespace` is ignored for kinds without namespaces."""
        path = self._path(kind, namespace, name, api_version)
        try:
            return _document(self._request("get", path, f"get {kind} {name}"))
        except MissingObjectError:
            return None

    def select(
        self, kind: str, namespace: str, *, labels: str = "", fields: str = "", api_version: str | None = None
    ) -> list[Document]:
        """List the objects of a kind whose labels and fields match the selectors; namespace "" is all namespaces."""
        path = self._path(kind, namespace, "", api_version)
        listing = self._request("get", path, f"list {kind}s", label_selector=labels, field_selector=fields)
        shared = {"apiVersion": api_version or API_VERSIONS[kind], "kind": kind}  # items in a list leave both out
        return [shared | item for item in _document(listing).get("items") or []]

    def apply(
        self, document: Document, *, namespace: str | None = None, force: bool = False, dry_run: bool = False
    ) -> Document:
        """Apply an object on the server's side and return it as the server has it then. Unknown fields are refused.

        Args:
            namespace: used for a document without one (default: the context's).
            force: take over fields that other tools own.
            dry_run: let the server check the object, webhooks included, and store nothing.
        """
        kind, name = document["kind"], document["metadata"]["name"]
        place = document["metadata"].get("namespace") or namespace or self.namespace
        path = self._path(kind, place, name, document["apiVersion"])
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
        """Apply a JSON merge patch (RFC 7386), which replaces lists as a whole."""
        path = self._path(kind, namespace, name, api_version)
        self._request(
            "patch", path, f"patch {kind} {name}", body=patch, content_type="application/merge-patch+json",
            field_manager=FIELD_MANAGER,
        )  # fmt: skip

    def delete(
        self, kind: str, namespace: str, name: str, *, foreground: bool = False, api_version: str | None = None
    ) -> bool:
        """Delete an object; False if there was none. `foreground` keeps it until all that it owns is gone."""
        path = self._path(kind, namespace, name, api_version)
        policy = "Foreground" if foreground else "Background"
        try:
            self._request("delete", path, f"delete {kind} {name}", propagation_policy=policy)
        except MissingObjectError:
            return False
        return True

    @property
    def configuration(self) -> Any:
        """The kubernetes package's configuration: the server and the credentials for it."""
        return self._api.configuration

    def pod_path(self, namespace: str, pod: str) -> str:
        """Path of a pod's URL."""
        return self._path("Pod", namespace, pod, None)

    def _path(self, kind: str, namespace: str, name: str, api_version: str | None) -> str:
        version = api_version or API_VERSIONS[kind]
        resource = self._resource(version, kind)
        root = f"/apis/{version}" if "/" in version else f"/api/{version}"
        inside = f"/namespaces/{quote(namespace, safe='')}" if resource.namespaced and namespace else ""
        return f"{root}{inside}/{resource.plural}" + (f"/{quote(name, safe='')}" if name else "")

    def _resource(self, version: str, kind: str) -> Resource:
        resource = self._find(version, kind)
        if resource is None:
            raise ClusterError(kind_not_installed(version, kind, self.server))
        return resource

    def _find(self, version: str, kind: str) -> Resource | None:
        with self._discovering:
            if kind not in self._resources.get(version, {}):
                self._resources[version] = self._discover(version)
            return self._resources[version].get(kind)

    def _discover(self, version: str) -> dict[str, Resource]:
        """Look up the kinds of one API version; none if the server does not know it. Subresources have a slash."""
        path = f"/apis/{version}" if "/" in version else f"/api/{version}"
        try:
            listing = _document(self._request("get", path, f"look up {version}"))
        except MissingObjectError:
            return {}
        return {
            resource["kind"]: Resource(plural=resource["name"], namespaced=bool(resource["namespaced"]))
            for resource in listing.get("resources") or []
            if "/" not in resource["name"]
        }

    def _request(self, method: str, path: str, action: str, **options: Any) -> bytes:
        """Send one request; `action` names it in errors. Options whose value is "" are left out."""
        from urllib3.exceptions import HTTPError

        options = {name: value for name, value in options.items() if value != ""}
        try:
            response = self._dynamic.request(method, path, serialize=False, _request_timeout=_TIMEOUT_S, **options)
            return bytes(response.data)
        except self._kubernetes.client.ApiException as exc:
            if not exc.status:
                raise self._no_answer(action, exc) from exc
            body = exc.body or b""
            missing = is_missing(exc.status, body)
            error = MissingObjectError if missing else _ERROR_CLASSES.get(exc.status, ClusterError)
            raise error(api_error(action, exc.status, body, server=self.server)) from exc
        except (HTTPError, OSError) as exc:
            raise self._no_answer(action, exc) from exc

    def _no_answer(self, action: str, exc: BaseException) -> ClusterDownError:
        return ClusterDownError(f"{action}: {self.server} does not answer ({root_cause(exc)})")


def _no_discovery(client: object, cache_file: object) -> None:
    """Replaces the library's discovery, which looks up all kinds and caches them in a file."""


def _document(body: bytes) -> Document:
    try:
        document = json.loads(body)
    except ValueError as exc:
        raise ClusterError(f"not a Kubernetes API server: it answered {one_line(repr(body), 80)}") from exc
    if not isinstance(document, dict):
        raise ClusterError(f"not a Kubernetes API server: it answered {one_line(repr(body), 80)}")
    return document
