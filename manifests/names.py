"""Names and labels of a chain's objects: what KServe's webhooks check, and what its controller trips over later."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shardline.wire.errors import ManifestError

if TYPE_CHECKING:
    from shardline.storage.bundle import Bundle

# inference_graph_validation.go and inference_service_validation.go have the same pattern
_NAME = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
LABEL_CHARACTERS = 63  # RFC 1035, and the most that the value of a Kubernetes label may have
ARGUMENT_BYTES = 128 * 1024  # Linux's MAX_ARG_STRLEN: the router gets its graph as one argument
TRANSFORMER = "pre"  # of a step's name: no longer with "-predictor" than a stage's number with "-transformer"
SHORT_DIGEST = 8  # hex digits of the bundle's digest that names and labels carry

PART_OF = "app.kubernetes.io/part-of"
MANAGED_BY = "app.kubernetes.io/managed-by"
BUNDLE = "shardline/bundle"
STAGE = "shardline/stage"
DIGEST_ANNOTATION = "shardline/bundle-digest"

# What KServe's controller puts on the pods of a component and of a graph's router.
SERVICE_LABEL = "serving.kserve.io/inferenceservice"
COMPONENT_LABEL = "component"
GRAPH_LABEL = "serving.kserve.io/inferencegraph"

MODEL_FOLDER = "/mnt/models"  # where KServe's storage initializer puts what storageUri names

Document = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """Every name in a chain's documents. `app` is the chain's, and its graph's.

    `transformer` is the InferenceService that is the graph's first step; None: the transformer is a component of the
    first stage's.

    A versioned chain has its bundle's short digest in the names of all that belongs to the version, so that two
    versions stand side by side; the graph alone, which leads to one of them, has none. It has a graph of one step even
    where one stage needs none, for that reason.
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
        """The InferenceServices that a request passes, in order."""
        return (self.transformer, *self.services) if self.transformer else self.services

    @property
    def components(self) -> tuple[tuple[str, str, int | None], ...]:
        """(InferenceService, component, stage) of each set of pods that answer requests."""
        first, *others = ((service, "predictor", stage) for stage, service in enumerate(self.services))
        transformer = (self.transformer, "predictor", None) if self.transformer else (first[0], "transformer", 0)
        return (first, transformer, *others)

    @property
    def front(self) -> str:
        """The Kubernetes Service that takes requests: the router's, or else the only stage's transformer."""
        return self.graph or f"{self.services[0]}-transformer"

    def metadata(
        self,
        name: str,
        *,
        annotations: Mapping[str, str] | None = None,
        labels: Mapping[str, str] | None = None,
        stage: int | None = None,
    ) -> Document:
        """Name, namespace, the labels by which all objects of a chain or a version are found, the whole digest."""
        own = {PART_OF: self.app, MANAGED_BY: "shardline", BUNDLE: short_digest(self.digest)}
        if stage is not None:
            own[STAGE] = str(stage)
        return {
            "name": name,
            "namespace": self.namespace,
            "labels": {**own, **(labels or {})},
            "annotations": {DIGEST_ANNOTATION: self.digest, **(annotations or {})},
        }


def short_digest(digest: str) -> str:
    """'sha256:e578b161…' -> 'e578b161'."""
    return digest.removeprefix("sha256:")[:SHORT_DIGEST]


def names_of(
    bundle: "Bundle",
    *,
    name: str | None = None,
    namespace: str = "default",
    versioned: bool = False,
    transformer_step: bool = False,
) -> Names:
    """The names of a bundle's objects; `name` is the bundle's own by default.

    With `transformer_step` the transformer is an InferenceService of its own, for which even one stage needs a graph.

    Raises:
        ManifestError: a name that the cluster would refuse, some of it only after `kubectl apply` has said yes.
    """
    app = bundle.name if name is None else name
    _check_pattern("name", app, _NAME)
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
    """What KServe makes of the names, and fails to reconcile when it is too long.

    The first label of a component's host is `<service>-transformer-<namespace>` (raw_kube_reconciler.go createRawURL),
    of a graph's `<graph>-<namespace>`; pods are labelled `app: isvc.<service>-transformer` and `app: isvc.<graph>`
    (deployment_reconciler.go). The longer component counts for every stage, so that a chain which fits keeps fitting
    when its first stage becomes another.
    """
    parts = [("service", f"{each}-transformer") for each in names.services]
    parts += [("graph", names.graph)] if names.graph else []
    derived = [(f"{kind}'s host name", f"{part}-{names.namespace}", "--name or --namespace") for kind, part in parts]
    derived += [(f"{kind}'s pod label", f"isvc.{part}", "--name") for kind, part in parts]
    _check_length(*max(derived, key=lambda each: len(each[1])))  # so that one shorter name heals all


def check_graph_argument(spec: Mapping[str, Any], names: Names) -> None:
    """The router is started with the graph's spec, all steps' URLs in it, as one argument.

    Raises:
        ManifestError: Linux would not start it.
    """
    urls = sum(
        len(f',"serviceUrl":"http://{each}-transformer.{names.namespace}.svc.cluster.local/v1/models/{each}:predict"')
        for each in names.steps
    )
    size = len(json.dumps(spec, separators=(",", ":"))) + urls
    if size >= ARGUMENT_BYTES:
        raise ManifestError(
            f"the graph of {len(names.services)} stages takes {size} bytes as the router's argument, Linux allows "
            f"{ARGUMENT_BYTES - 1}: choose a shorter --name or fewer stages"
        )


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
