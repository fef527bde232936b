"""Options of `render`: how a bundle's chain is named, placed, sized, scaled and reached."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from shardline.manifests.access import BucketAccess
from shardline.manifests.network import Exposure, Network
from shardline.manifests.placement import Placement
from shardline.manifests.quantities import parse_cpu, parse_memory
from shardline.manifests.scaling import Scaling
from shardline.wire.errors import UsageError

IMAGE = "shardline/shard:0.1.0"
CPU_IMAGE = "shardline/shard-cpu:0.1.0"  # with torch's CPU build, without NVIDIA's libraries
TRANSFORMER_IMAGE = "shardline/transformer:0.1.0"
MODES = ("standard", "knative")
TRANSFORMERS = ("component", "step")
PULL_POLICIES = ("Always", "IfNotPresent", "Never")

# pkg/controller/v1beta1/inferenceservice/utils/utils.go SupportedStorageURIPrefixList
_SCHEMES = ("gs", "s3", "pvc", "file", "https", "http", "hdfs", "webhdfs", "oci", "oci+native", "oci+fetch", "hf")
_STORAGE = re.compile(r"(?P<scheme>[a-z0-9+]+)://(?P<host>[^/]*)(?P<path>/.*)?")
_BUCKET = re.compile(r"[a-z0-9]([-a-z0-9_.]{0,220}[a-z0-9])?")  # of Google and, with fewer characters, of S3
_AZURE = re.compile(r"[a-z0-9]+\.(blob|file)\.core\.windows\.net")
# of these the storage initializer fetches one file, an image or a repository, and no folder of one
_NO_FOLDERS = ("https", "http", "oci", "oci+native", "oci+fetch", "hf")
PARTS = ("stages", "transformer", "router")  # parts of a chain that have their own requests and limits


@dataclass(frozen=True, slots=True, kw_only=True)
class Overrides:
    """Requests and limits that replace those computed from the plan; None keeps the computed value."""

    cpu_request_m: int | None = None
    cpu_limit_m: int | None = None
    memory_request_mib: int | None = None
    memory_limit_mib: int | None = None

    def __post_init__(self) -> None:
        pairs = {
            "CPU": (self.cpu_request_m, self.cpu_limit_m, "m"),
            "memory": (self.memory_request_mib, self.memory_limit_mib, "Mi"),
        }
        for what, (request, limit, unit) in pairs.items():
            if request is not None and limit is not None and request > limit:
                raise UsageError(
                    f"the {what} request {request}{unit} is above the limit {limit}{unit}, which Kubernetes refuses: "
                    "lower the request or raise the limit"
                )


def parse_overrides(
    *,
    cpu_requests: Iterable[str] = (),
    cpu_limits: Iterable[str] = (),
    memory_requests: Iterable[str] = (),
    memory_limits: Iterable[str] = (),
) -> dict[str, Overrides]:
    """Read the overrides of each of `PARTS`. '500m' holds for every part; 'stages=500m' holds for one, first.

    Raises:
        UsageError: an unknown part, text that is not a quantity, or a request above its limit.
    """
    given = {
        "cpu_request_m": {part: parse_cpu(text) for part, text in _by_part(cpu_requests).items()},
        "cpu_limit_m": {part: parse_cpu(text) for part, text in _by_part(cpu_limits).items()},
        "memory_request_mib": {part: parse_memory(text) for part, text in _by_part(memory_requests).items()},
        "memory_limit_mib": {part: parse_memory(text) for part, text in _by_part(memory_limits).items()},
    }
    return {part: Overrides(**{field: amounts.get(part) for field, amounts in given.items()}) for part in PARTS}


def _by_part(words: Iterable[str]) -> Mapping[str, str]:
    named: dict[str, str] = {}
    for_all: dict[str, str] = {}
    for word in words:
        part, equals, quantity = word.partition("=")
        if not equals:
            for_all = dict.fromkeys(PARTS, word)
        elif part in PARTS:
            named[part] = quantity
        else:
            raise UsageError(f"{word!r} is for {part!r}: the parts of a chain are {', '.join(PARTS)}")
    return for_all | named


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderOptions:
    """Attributes:
    storage: URI of the pushed bundle; stage i is fetched from `<storage>/stages/<i>`.
    name: name of the chain; by default the bundle's.
    versioned: put the bundle's short digest into the names of this version's objects.
    mode: KServe's deployment mode, 'standard' or 'knative'. Knative has its own scaling and is stricter: fields that
        its webhook refuses are left out, and options that it cannot fulfil are refused.
    transformer_as: 'component' of the first stage's InferenceService, through which the stage's response passes back,
        or 'step' of the graph, an InferenceService of its own. None chooses the cheaper: a step for several stages, a
        component for one.
    image: image of the stages; None chooses by their device: `IMAGE` for GPUs, else `CPU_IMAGE`.
    """

    storage: str
    name: str | None = None
    namespace: str = "default"
    versioned: bool = False
    mode: str = "standard"
    transformer_as: str | None = None
    image: str | None = None
    transformer_image: str = TRANSFORMER_IMAGE
    image_pull_policy: str = "IfNotPresent"
    image_pull_secret: str | None = None
    scaling: Scaling = field(default_factory=Scaling)
    placement: Placement = field(default_factory=Placement)
    stages: Overrides = field(default_factory=Overrides)
    transformer: Overrides = field(default_factory=Overrides)
    router: Overrides = field(default_factory=Overrides)
    access: BucketAccess = field(default_factory=BucketAccess)
    network: Network = field(default_factory=Network)
    exposure: Exposure = field(default_factory=Exposure)

    def __post_init__(self) -> None:
        _check_storage(self.storage)
        for image in (self.stage_image, self.transformer_image):
            if not image or any(character.isspace() for character in image):
                raise UsageError(f"{image!r} is not an image: write it as registry/name:tag")
        _one_of("pull policy", self.image_pull_policy, PULL_POLICIES)
        _one_of("mode", self.mode, MODES)
        if self.transformer_as is not None:
            _one_of("kind of transformer", self.transformer_as, TRANSFORMERS)
        self._check_together()

    def _check_together(self) -> None:
        if self.knative and (self.exposure.host or self.scaling.autoscaler != "none"):
            raise UsageError(
                "--mode knative excludes --ingress-host and --autoscaler: Knative exposes and scales services itself"
            )
        if self.placement.gpu_resource and self.scaling.autoscaler == "hpa":
            raise UsageError(
                "an HPA scales by CPU, of which a stage on a GPU uses little: give --autoscaler keda --prometheus URL"
            )
        if self.scaling.prometheus and self.network.policies and not self.network.allow_namespaces:
            raise UsageError("the NetworkPolicies block Prometheus: name its namespace with --allow-namespace")

    def transformer_step(self, stages: int) -> bool:
        """True if the transformer is a step of the graph in a chain of that many stages."""
        return stages > 1 if self.transformer_as is None else self.transformer_as == "step"

    @property
    def stage_image(self) -> str:
        """Image of the stages: the given one, or the one for their device."""
        if self.image is not None:
            return self.image
        return IMAGE if self.gpu else CPU_IMAGE

    @property
    def knative(self) -> bool:
        """True in KServe's Knative mode, False in its Standard mode."""
        return self.mode == "knative"

    @property
    def gpu(self) -> bool:
        """True if the stages run on GPUs."""
        return self.placement.gpu_resource is not None


def _check_storage(uri: str) -> None:
    """Refuse URIs that KServe does not know, and those from which its storage initializer cannot fetch a stage.

    Raises:
        UsageError: what the URI has to be.
    """
    match = _STORAGE.fullmatch(uri)
    if not match or match["scheme"] not in _SCHEMES or not (match["host"] or match["path"]):
        raise UsageError(f"{uri!r} is not a URI that KServe supports: give gs://…, s3://…, pvc://… or file:///…")
    scheme, host, path = match["scheme"], match["host"], match["path"] or ""
    if scheme in _NO_FOLDERS and not _AZURE.fullmatch(host):
        raise UsageError(
            f"{uri!r}: KServe's storage initializer fetches no folder over {scheme}://, and each stage is one: give "
            "gs://…, s3://…, pvc://… or file:///…"
        )
    if any(character in uri for character in "?#*") or ".." in path.split("/") or any(map(str.isspace, uri)):
        raise UsageError(f"{uri!r} has spaces, '?', '#', '*' or '..': write the plain path of the bundle")
    if scheme in ("gs", "s3") and not _BUCKET.fullmatch(host):
        raise UsageError(f"{uri!r} has no name of a bucket: write {scheme}://bucket/path, in lower case")
    if scheme == "pvc" and not host:
        raise UsageError(f"{uri!r} has no name of a PersistentVolumeClaim: write pvc://name/path")
    if scheme == "file" and host:
        raise UsageError(f"{uri!r} has no absolute path: write file:///absolute/path, with three slashes")


def _one_of(what: str, found: str, allowed: tuple[str, ...]) -> None:
    if found not in allowed:
        raise UsageError(f"{found!r} is not a {what}: choose {', '.join(allowed)}")
