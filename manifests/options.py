"""What may be asked of `render` beside the bundle itself."""

import re
from dataclasses import dataclass, field

from shardline.manifests.access import Access
from shardline.manifests.ingress import Way
from shardline.manifests.network import Network
from shardline.manifests.placement import Placement
from shardline.manifests.scaling import Scaling
from shardline.manifests.sizing import Overrides
from shardline.wire.errors import ManifestError

IMAGE = "shardline/shard:0.1.0"
TRANSFORMER_IMAGE = "shardline/transformer:0.1.0"
MODES = ("standard", "knative")
TRANSFORMERS = ("component", "step")
PULL_POLICIES = ("Always", "IfNotPresent", "Never")

# pkg/controller/v1beta1/inferenceservice/utils/utils.go SupportedStorageURIPrefixList
_STORAGE = re.compile(r"(gs|s3|pvc|file|https?|hdfs|webhdfs|oci|oci\+native|oci\+fetch|hf)://.+")


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderOptions:
    """Attributes:
    storage: URI of the pushed bundle; stage i is fetched from `<storage>/stages/<i>`.
    name: of the chain; the bundle's own by default.
    versioned: whether the bundle's short digest is in the names of all that belongs to this version.
    mode: KServe's deployment mode, 'standard' or 'knative'. Knative scales by itself and is stricter: what its
        webhook refuses is left out, what cannot be had there is refused here.
    transformer_as: 'component' of the first stage's InferenceService, through which the stage's answer goes back, or
        'step' of the graph, an InferenceService of its own. None is whichever costs less: a step where there are
        several stages, a component where there is one.
    """

    storage: str
    name: str | None = None
    namespace: str = "default"
    versioned: bool = False
    mode: str = "standard"
    transformer_as: str | None = None
    image: str = IMAGE
    transformer_image: str = TRANSFORMER_IMAGE
    image_pull_policy: str = "IfNotPresent"
    image_pull_secret: str | None = None
    scaling: Scaling = field(default_factory=Scaling)
    placement: Placement = field(default_factory=Placement)
    stages: Overrides = field(default_factory=Overrides)
    transformer: Overrides = field(default_factory=Overrides)
    router: Overrides = field(default_factory=Overrides)
    access: Access = field(default_factory=Access)
    network: Network = field(default_factory=Network)
    way: Way = field(default_factory=Way)

    def __post_init__(self) -> None:
        if not _STORAGE.fullmatch(self.storage):
            raise ManifestError(
                f"the storage URI {self.storage!r} is none that KServe takes: give gs://…, s3://…, pvc://… or "
                "file:///… with --storage"
            )
        for image in (self.image, self.transformer_image):
            if not image or any(each.isspace() for each in image):
                raise ManifestError(f"{image!r} is no image: write it as registry/name:tag")
        _one_of("pull policy", self.image_pull_policy, PULL_POLICIES)
        _one_of("mode", self.mode, MODES)
        if self.transformer_as is not None:
            _one_of("kind of transformer", self.transformer_as, TRANSFORMERS)
        self._check_together()

    def _check_together(self) -> None:
        if self.knative and (self.way.host or self.scaling.autoscaler != "none"):
            raise ManifestError("Knative makes its own way in and scales by itself: leave out those options, or --mode")
        if self.placement.gpu_resource and self.scaling.autoscaler == "hpa":
            raise ManifestError(
                "an HPA counts CPU, of which a stage on a GPU uses little: scale by --autoscaler keda --prometheus URL"
            )
        if self.scaling.prometheus and self.network.policies and not self.network.allow_namespaces:
            raise ManifestError(
                "the NetworkPolicy would keep Prometheus out: name its namespace with --allow-namespace"
            )

    def transformer_step(self, stages: int) -> bool:
        """Whether the transformer is a step of the graph, in a chain of so many stages."""
        return stages > 1 if self.transformer_as is None else self.transformer_as == "step"

    @property
    def knative(self) -> bool:
        return self.mode == "knative"

    @property
    def gpu(self) -> bool:
        return self.placement.gpu_resource is not None


def _one_of(what: str, found: str, allowed: tuple[str, ...]) -> None:
    if found not in allowed:
        raise ManifestError(f"{found!r} is no {what}: one of {', '.join(allowed)}")
