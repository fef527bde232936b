"""KServe's documents as plain dictionaries: one ServingRuntime, K InferenceServices, one InferenceGraph.

The functions are pure. The runtime holds what all stages share (image, command, probes), an InferenceService what is
its own (shard, digest, resources). KServe appends an InferenceService's args to those of its runtime and replaces
`{{.Name}}` (ReplacePlaceholders), so the name of the service is also that of the model and of the graph's path.
"""

import math

from shardline.client.labels import COMPONENT_LABEL, MODE_ANNOTATION, SERVICE_LABEL, Document
from shardline.manifests.names import MODEL_FOLDER, Names, check_graph_argument
from shardline.manifests.network import HTTP_PORT
from shardline.manifests.options import RenderOptions
from shardline.manifests.placement import rollout
from shardline.manifests.sizing import (
    MAX_QUEUE,
    ChainTimeouts,
    held_bytes,
    router_compute,
    stage_compute,
    transformer_compute,
)
from shardline.storage.bundle import Bundle, Stage, stage_folder
from shardline.wire.limits import MIB

MODEL_FORMAT = "shardline"

# Shutdown of a pod: for PRE_STOP_S the Service removes it from its endpoints; after SIGTERM the server closes kept
# connections for DRAIN_S; then the SDK finishes running requests within 30 s.
PRE_STOP_S = 10
DRAIN_S = 15
GRACE_S = 60
USER = 65532  # "nonroot" of distroless images; a number, since the kubelet cannot tell whether a name is root's
KNATIVE_TIMEOUT_S = 600  # Knative's max-revision-timeout-seconds, the most that its webhook allows

_TEMPORARY_BYTES = 256 * MIB  # of a pod's /tmp, beside the compiled packages that torch unpacks there

# Threads that wait for work must not spin, since several processes share a node's CPUs.
_ENV = [
    {"name": "OMP_WAIT_POLICY", "value": "PASSIVE"},
    {"name": "PYTHONUNBUFFERED", "value": "1"},
]


def serving_runtime(bundle: Bundle, names: Names, options: RenderOptions) -> Document:
    """Render the ServingRuntime of all stages, in the stages' namespace."""
    args = [
        f"--model_dir={MODEL_FOLDER}",
        f"--http_port={HTTP_PORT}",
        "--enable_grpc=false",
        *drain_args(options),
        "--model_name={{.Name}}",
    ]
    shard = container(
        options.stage_image, "shardline.predictors.shard", args, model_path="/v1/models/{{.Name}}", options=options
    )
    return {
        "apiVersion": "serving.kserve.io/v1alpha1",
        "kind": "ServingRuntime",
        "metadata": names.metadata(names.runtime),
        "spec": {
            "supportedModelFormats": [{"name": MODEL_FORMAT, "version": "1", "autoSelect": False}],
            "protocolVersions": ["v1"],
            "containers": [shard],
            "volumes": volumes(_TEMPORARY_BYTES + max(2 * unpacked_bytes(bundle, stage) for stage in bundle.stages)),
        },
    }


def inference_service(
    bundle: Bundle, stage: Stage, names: Names, options: RenderOptions, timeouts: ChainTimeouts
) -> Document:
    """Render one stage; stage 0 also has the transformer, unless that is a step of the graph."""
    spec = {"predictor": _predictor(bundle, stage, names, options, timeouts)}
    if stage.index == 0 and names.transformer is None:
        # KServe's controller adds --model_name, --predictor_host and --http_port (transformer_custom.go GetContainer).
        # There is no containerConcurrency: it would become --workers, with which every request fails with 501.
        spec["transformer"] = _transformer(bundle, names, names.services[0], "transformer", [], options, timeouts)
    return _service(names, names.services[stage.index], spec, options, stage=stage.index)


def transformer_step(bundle: Bundle, names: Names, options: RenderOptions, timeouts: ChainTimeouts) -> list[Document]:
    """Render the transformer as an InferenceService of its own, if it is the graph's first step.

    For KServe it is a predictor, a custom container without a storage URI. So KServe injects nothing but the service's
    name into its environment, and the graph calls the model by the name in its arguments (utils.go GetModelName).
    """
    if names.transformer is None:
        return []
    args = ["--step", f"--http_port={HTTP_PORT}", f"--model_name={names.transformer}"]
    pods = _transformer(bundle, names, names.transformer, "predictor", args, options, timeouts)
    return [_service(names, names.transformer, {"predictor": pods}, options)]


def _service(names: Names, name: str, spec: Document, options: RenderOptions, *, stage: int | None = None) -> Document:
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": names.metadata(
            name,
            annotations=_mode(options) | ({} if options.knative else options.scaling.annotations),
            labels=_visibility(names, options),
            stage=stage,
        ),
        "spec": spec,
    }


def inference_graph(
    names: Names, graph: str, bundle: Bundle, options: RenderOptions, timeouts: ChainTimeouts
) -> Document:
    """Render the graph: each stage gets the previous stage's response byte for byte, and the first error is the reply.

    `dependency: Hard`, since with the default the router sends a stage's error to the next stage as its input
    (cmd/router/main.go routeStep).

    Raises:
        ManifestError: more stages than the router's command line holds.
    """
    steps: list[Document] = [{"name": step, "serviceName": step, "dependency": "Hard"} for step in names.steps]
    for step in steps[1:]:
        step["data"] = "$response"
    spec = {
        "nodes": {"root": {"routerType": "Sequence", "steps": steps}},
        "routerTimeouts": {
            "serverRead": timeouts.server_read_s,
            "serverWrite": timeouts.server_write_s,
            "serverIdle": timeouts.server_idle_s,
            "serviceClient": timeouts.service_client_s,
        },
        **({"timeout": min(timeouts.server_write_s, KNATIVE_TIMEOUT_S)} if options.knative else {}),
        "minReplicas": options.scaling.replicas,
        "maxReplicas": options.scaling.replicas,
        "resources": router_compute(bundle).overridden(options.router).to_resources(),
        **options.placement.affinity_fields(names),
    }
    check_graph_argument(spec, names)
    # The router does little work and is not scaled; without a class KServe would create an HPA for it.
    fixed = {} if options.knative else {"serving.kserve.io/autoscalerClass": "none"}
    return {
        "apiVersion": "serving.kserve.io/v1alpha1",
        "kind": "InferenceGraph",
        "metadata": names.metadata(graph, annotations=_mode(options) | fixed),
        "spec": spec,
    }


def _predictor(bundle: Bundle, stage: Stage, names: Names, options: RenderOptions, timeouts: ChainTimeouts) -> Document:
    resources = stage_compute(bundle, stage).overridden(options.stages).to_resources()
    if device := options.placement.gpu_resource:
        for amounts in resources.values():
            amounts[device] = "1"
    return {
        **component(
            names,
            names.services[stage.index],
            "predictor",
            options,
            timeout_s=timeouts.service_client_s,
            gpu=options.gpu,
        ),
        **options.access.fields(names),
        **options.placement.stage_fields(),
        "model": {
            "modelFormat": {"name": MODEL_FORMAT},
            "runtime": names.runtime,
            "protocolVersion": "v1",
            "storageUri": f"{options.storage.rstrip('/')}/{stage_folder(stage.index)}",
            "args": [
                f"--bundle_digest={names.digest}",
                f"--max_batch_size={bundle.batch}",
                f"--max_queue={MAX_QUEUE}",
                f"--max_body_bytes={bundle.limits.body_bytes}",
                f"--max_held_bytes={held_bytes(bundle)}",
            ],
            "resources": resources,
        },
    }


def _transformer(
    bundle: Bundle,
    names: Names,
    service: str,
    kind: str,
    args: list[str],
    options: RenderOptions,
    timeouts: ChainTimeouts,
) -> Document:
    """Build the transformer's pods, as the predictor or the transformer (`kind`) of `service`; `args` come last."""
    server = container(
        options.transformer_image,
        "shardline.predictors.transformer",
        _transformer_args(bundle, names.digest, timeouts.request_ms) + drain_args(options) + args,
        model_path=f"/v1/models/{service}",
        options=options,
        resources=transformer_compute(bundle).overridden(options.transformer).to_resources(),
    )
    return {
        **component(names, service, kind, options, timeout_s=timeouts.service_client_s, gpu=False),
        "containers": [server],
        "volumes": volumes(_TEMPORARY_BYTES),
    }


def _transformer_args(bundle: Bundle, digest: str, request_timeout_ms: int) -> list[str]:
    picture = bundle.picture
    return [
        f"--input_size={picture.height}x{picture.width}",
        f"--fit={picture.fit}",
        *([f"--resize={picture.resize}"] if picture.resize is not None else []),
        f"--interpolation={picture.interpolation}",
        *([f"--mode={picture.mode}"] if picture.mode != "RGB" else []),
        *(f"--input={spec}" for spec in bundle.inputs),
        f"--bundle_digest={digest}",
        f"--max_instances={bundle.max_instances}",
        f"--max_request_bytes={bundle.limits.request_bytes}",
        f"--max_body_bytes={bundle.limits.body_bytes}",
        f"--max_held_bytes={held_bytes(bundle)}",
        f"--max_pixels={bundle.limits.pixels}",
        f"--request_timeout_ms={request_timeout_ms}",
        "--enable_grpc=false",
    ]


def _mode(options: RenderOptions) -> Document:
    """Build the mode's annotation. Without it the cluster's default applies, in KServe's Helm chart Knative."""
    return {MODE_ANNOTATION: options.mode.capitalize()}


def _visibility(names: Names, options: RenderOptions) -> Document:
    """Build the label that keeps KServe from exposing each component under a public host name of its own.

    A single service without a graph takes the requests itself: KServe may expose it, unless our Ingress does.
    """
    if names.graph is None and options.exposure.host is None:
        return {}
    domain = "networking.knative.dev" if options.knative else "networking.kserve.io"
    return {f"{domain}/visibility": "cluster-local"}


def component(names: Names, service: str, kind: str, options: RenderOptions, *, timeout_s: int, gpu: bool) -> Document:
    """Build the fields of a predictor or transformer (`kind`) except its containers."""
    common = {
        "automountServiceAccountToken": False,  # nothing in the pod talks to the Kubernetes API
        **({"imagePullSecrets": [{"name": options.image_pull_secret}]} if options.image_pull_secret else {}),
        **options.placement.spread_fields({SERVICE_LABEL: service, COMPONENT_LABEL: kind}),
        **options.placement.affinity_fields(names),
    }
    replicas = options.scaling.fields(names, service, kind)
    if options.knative:
        return {**replicas, "timeout": min(timeout_s, KNATIVE_TIMEOUT_S), **common}
    return {
        **replicas,
        "timeout": timeout_s,  # for the HTTPRoute, whose default is 60 s
        "deploymentStrategy": rollout(gpu=gpu),
        "terminationGracePeriodSeconds": GRACE_S,
        # Holds for KServe's storage initializer as well, whose image may run as root.
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        **common,
    }


def container(
    image: str,
    module: str,
    args: list[str],
    *,
    model_path: str,
    options: RenderOptions,
    resources: Document | None = None,
) -> Document:
    """Build the container of a server. `model_path` returns 200 once the model is loaded and warmed up.

    A server that refuses its shard exits with a one-line message, which FallbackToLogsOnError copies into the pod's
    status, where `kubectl describe` shows it.
    """
    return {
        "name": "kserve-container",
        "image": image,
        "imagePullPolicy": options.image_pull_policy,
        "command": ["python", "-m", module],
        "args": args,
        **({"resources": resources} if resources else {}),
        "env": [dict(variable) for variable in _ENV],
        "ports": [{"containerPort": HTTP_PORT, "protocol": "TCP"}],
        # Loading may take minutes. After 10 minutes a Deployment's rollout counts as failed, too.
        "startupProbe": _probe(model_path, period_s=2, timeout_s=2, failures=300),
        "readinessProbe": _probe(model_path, period_s=5, timeout_s=5, failures=3),
        "livenessProbe": _probe("/", period_s=10, timeout_s=10, failures=6),
        **({} if options.knative else {"lifecycle": {"preStop": {"sleep": {"seconds": PRE_STOP_S}}}}),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "readOnlyRootFilesystem": True,
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
    }


def drain_args(options: RenderOptions) -> list[str]:
    """Build the drain argument; under Knative the queue-proxy drains connections."""
    return [] if options.knative else [f"--drain_seconds={DRAIN_S}"]


def volumes(size_bytes: int) -> list[Document]:
    """Build the writable /tmp beside the read-only root file system; a pod that writes more is evicted."""
    return [{"name": "tmp", "emptyDir": {"sizeLimit": f"{math.ceil(size_bytes / MIB)}Mi"}}]


def unpacked_bytes(bundle: Bundle, stage: Stage) -> int:
    """Size of a stage's compiled packages, which torch unpacks into /tmp."""
    paths = [f"{stage_folder(stage.index)}/{package.path}" for package in stage.compiled]
    return sum(bundle.files[path].size_bytes for path in paths)


def _probe(path: str, *, period_s: int, timeout_s: int, failures: int) -> Document:
    return {
        "httpGet": {"path": path, "port": HTTP_PORT},
        "periodSeconds": period_s,
        "timeoutSeconds": timeout_s,
        "failureThreshold": failures,
    }
