"""Names and labels of a chain's Kubernetes objects.

Every name is checked here against KServe's webhooks, and against the longer names that its controller derives from it.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shardline.client.labels import (
    BUNDLE_LABEL,
    DIGEST_ANNOTATION,
    MANAGED_LABEL,
    PART_OF_LABEL,
    STAGE_LABEL,
    Document,
)
from shardline.wire.errors import ManifestError

if TYPE_CHECKING:
    from shardline.storage.bundle import Bundle

# the pattern of inference_graph_validation.go and inference_service_validation.go
KSERVE_NAME = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
LABEL_CHARACTERS = 63  # RFC 1035; also the limit for the value of a Kubernetes label
ARGUMENT_BYTES = 128 * 1024  # Linux's MAX_ARG_STRLEN: the router gets its graph as one argument
TRANSFORMER = "pre"  # suffix of the transformer's service: with "-predictor" no longer than "-0-transformer"
SHORT_DIGEST = 8  # hex digits of the bundle's digest in names and labels

MODEL_FOLDER = "/mnt/models"  # where KServe's storage initializer puts what storageUri names


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """Every name in a chain's documents. `app` is the name of the chain and of its graph.

    `transformer` is the InferenceService that is the graph's first step. It is None where the transformer is a
    component of the first stage's InferenceService.

    In a versioned chain the bundle's short digest is part of every name but the graph's, so that two versions stand
    side by side and the graph leads to one of them. Such a chain has a graph even if it has a single stage.
    """

    app: str
    namespace: str
    digest: str
    services: tuple[str, ...]
    runtime: str
    graph: str | None
    transformer: str | None = None

    @property
    def steps(self) -> tuple[str, ...]:
        """Names of the InferenceServices in the order in which a request passes them."""
        return (self.transformer, *self.services) if self.transformer else self.services

    @property
    def components(self) -> tuple[tuple[str, str, int | None], ...]:
        """(InferenceService, component, stage) of each set of pods that serves requests."""
        first, *others = ((service, "predictor", stage) for stage, service in enumerate(self.services))
        transformer = (self.transformer, "predictor", None) if self.transformer else (first[0], "transformer", 0)
        return (first, transformer, *others)

    @property
    def front(self) -> str:
        """Name of the Kubernetes Service that takes requests: the router's, else the only stage's transformer's."""
        return self.graph or f"{self.services[0]}-transformer"

    def metadata(
        self,
        name: str,
        *,
        annotations: Mapping[str, str] | None = None,
        labels: Mapping[str, str] | None = None,
        stage: int | None = None,
    ) -> Document:
        """Build an object's metadata, with the labels by which the objects of a chain or a version are selected."""
        own = {PART_OF_LABEL: self.app, MANAGED_LABEL: "shardline", BUNDLE_LABEL: short_digest(self.digest)}
        if stage is not None:
            own[STAGE_LABEL] = str(stage)
        return {
            "name": name,
            "namespace": self.namespace,
            "labels": {**own, **(labels or {})},
            "annotations": {DIGEST_ANNOTATION: self.digest, **(annotations or {})},
        }


def short_digest(digest: str) -> str:
    """Shorten a bundle's digest for names and labels: 'sha256:e578b161…' -> 'e578b161'."""
    return digest.removeprefix("sha256:")[:SHORT_DIGEST]


def names_of(
    bundle: "Bundle",
    *,
    name: str | None = None,
    namespace: str = "default",
    versioned: bool = False,
    transformer_step: bool = False,
) -> Names:
    """Name a bundle's objects; `name` is the name of the bundle by default.

    With `transformer_step` the transformer is an InferenceService of its own, and there is always a graph.

    Raises:
        ManifestError: a name that the cluster would refuse, at once or only after `kubectl apply` has succeeded.
    """
    app = bundle.name if name is None else name
    _check_pattern("name", app, KSERVE_NAME)
    _check_pattern("namespace", namespace, _NAMESPACE)
    _check_length("namespace", namespace, "--namespace")
    digest = bundle.digest
    version = f"{app}-{short_digest(digest)}" if versioned else app
    several = versioned or transformer_step or len(bundle.stages) > 1
    names = Names(
        app=app,
        namespace=namespace,
        digest=digest,
        services=tuple(f"{version}-{stage.index}" for stage in bundle.stages) if several else (app,),
        runtime=version,
        graph=app if several else None,
        transformer=f"{version}-{TRANSFORMER}" if transformer_step else None,
    )
    _check_derived(names)
    return names


def _check_derived(names: Names) -> None:
    """Check the names that KServe derives: it fails to reconcile an object when they are too long.

    The first label of a component's host is `<service>-transformer-<namespace>` (raw_kube_reconciler.go createRawURL),
    that of a graph's host is `<graph>-<namespace>`. Pods are labelled `app: isvc.<service>-transformer` and `app:
    isvc.<graph>` (deployment_reconciler.go). Every stage is checked as if it had the transformer, so that a chain that
    fits keeps fitting when another stage becomes its first.
    """
    parts = [("service", f"{service}-transformer") for service in names.services]
    parts += [("graph", names.graph)] if names.graph else []
    derived = [(f"{kind}'s host name", f"{part}-{names.namespace}", "--name or --namespace") for kind, part in parts]
    derived += [(f"{kind}'s pod label", f"isvc.{part}", "--name") for kind, part in parts]
    _check_length(*max(derived, key=lambda entry: len(entry[1])))  # with the longest, all fit


def check_graph_argument(spec: Mapping[str, Any], names: Names) -> None:
    """Check that the graph's spec, with the URLs of all steps, fits into one argument of the router's command line.

    Raises:
        ManifestError: it is longer than Linux allows.
    """
    size = graph_argument_bytes(spec, names.steps, names.namespace)
    if size >= ARGUMENT_BYTES:
        raise ManifestError(
            f"the graph of {len(names.services)} stages takes {size} bytes as the router's argument, Linux allows "
            f"{ARGUMENT_BYTES - 1}: choose a shorter --name or fewer stages"
        )


def graph_argument_bytes(spec: Mapping[str, Any], services: Iterable[str], namespace: str) -> int:
    """Compute the length of the router's argument --graph-json, which is the spec and the URL of each step."""
    urls = (
        f',"serviceUrl":"http://{service}-transformer.{namespace}.svc.cluster.local/v1/models/{service}:predict"'
        for service in services
    )
    return len(json.dumps(spec, separators=(",", ":"), default=str)) + sum(map(len, urls))


def _check_pattern(what: str, found: str, allowed: re.Pattern[str]) -> None:
    if not allowed.fullmatch(found):
        raise ManifestError(
            f"the {what} {found!r} is not allowed: KServe takes lower-case letters, digits and '-' "
            f"({allowed.pattern}); choose another --{what}"
        )


def _check_length(what: str, found: str, options: str) -> None:
    if len(found) > LABEL_CHARACTERS:
        raise ManifestError(
            f"the {what} {found!r} has {len(found)} characters, {LABEL_CHARACTERS} are allowed: "
            f"choose a {options} shorter by {len(found) - LABEL_CHARACTERS}"
        )
