"""Kubernetes documents as plain dictionaries: one ServingRuntime, K InferenceServices, one InferenceGraph.

Pure functions: values in, a document out. The runtime holds what all stages share (image, command, probes), an
InferenceService what differs (shard, digest, resources). KServe appends an InferenceService's args to its runtime's and
fills in `{{.Name}}` (ReplacePlaceholders), so the service's name is the model's name and the graph's path.
"""

from typing import Any

from manifests.sizing import MAX_QUEUE, ROUTER, Compute, Timeouts
from storage.bundle import Bundle

Document = dict[str, Any]

MODEL_FORMAT = "shardline"
MODEL_FOLDER = "/mnt/models"  # where KServe's storage initializer puts what storageUri names
HTTP_PORT = 8080
# KServe's SDK finishes requests for 30 s after SIGTERM; before that, PRE_STOP_S let the Service forget the pod.
PRE_STOP_S = 10
GRACE_S = 60

_ANNOTATIONS = {
    # On both kinds: graphs have no defaulter, and the cluster's default mode is Knative in KServe's Helm chart.
    "serving.kserve.io/deploymentMode": "Standard",
    # Replicas are written here; an HPA is the choice of whoever runs the cluster.
    "serving.kserve.io/autoscalerClass": "none",
}

# glibc gives every block above 128 KB pages of its own and hands them back at once: each frame of 3 MB then faults in
# 800 fresh pages. With both thresholds raised (32 MB is the most that glibc takes for the first), half the faults go.
# Threads that wait for work must not spin: with several processes on a node they take each other's CPU.
_ENV = [
    {"name": "OMP_WAIT_POLICY", "value": "PASSIVE"},
    {"name": "MALLOC_MMAP_THRESHOLD_", "value": str(32 * 1024**2)},
    {"name": "MALLOC_TRIM_THRESHOLD_", "value": str(256 * 1024**2)},
    {"name": "PYTHONUNBUFFERED", "value": "1"},
]


def serving_runtime(*, name: str, namespace: str, image: str) -> Document:
    """The runtime of every stage, in the stages' own namespace."""
    return {
        "apiVersion": "serving.kserve.io/v1alpha1",
        "kind": "ServingRuntime",
        "metadata": _metadata(name, name, namespace, annotations={}),
        "spec": {
            "supportedModelFormats": [{"name": MODEL_FORMAT, "version": "1", "autoSelect": False}],
            "protocolVersions": ["v1"],
            "containers": [
                {
                    "name": "kserve-container",
                    "image": image,
                    "command": ["python", "-m", "predictors.shard"],
                    "args": [
                        f"--model_dir={MODEL_FOLDER}",
                        f"--http_port={HTTP_PORT}",
                        "--enable_grpc=false",
                        "--model_name={{.Name}}",
                    ],
                    **_container("/v1/models/{{.Name}}"),
                }
            ],
            "volumes": _volumes(),
        },
    }


def inference_service(
    bundle: Bundle,
    index: int,
    *,
    name: str,
    app: str,
    namespace: str,
    storage_uri: str,
    compute: Compute,
    timeout_s: int,
    replicas: int,
    transformer: Document | None = None,
) -> Document:
    """One stage. `app` is the name of the whole chain, which is also the runtime's."""
    predictor = {
        **_component(replicas, timeout_s),
        "model": {
            "modelFormat": {"name": MODEL_FORMAT},
            "runtime": app,
            "protocolVersion": "v1",
            "storageUri": storage_uri,
            "args": [
                f"--bundle_digest={bundle.digest}",
                f"--max_batch_size={bundle.batch}",
                f"--max_queue={MAX_QUEUE}",
                f"--max_body_bytes={bundle.limits.body_bytes}",
            ],
            "resources": compute.to_resources(),
        },
    }
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": _metadata(name, app, namespace, annotations=_ANNOTATIONS, stage=index),
        "spec": {"predictor": predictor} | ({"transformer": transformer} if transformer else {}),
    }


def transformer(
    bundle: Bundle,
    *,
    service: str,
    image: str,
    compute: Compute,
    timeout_s: int,
    request_timeout_ms: int,
    replicas: int,
) -> Document:
    """The transformer component of stage 0's InferenceService, whose name is `service`.

    `--model_name`, `--predictor_host` and `--http_port` are left out: KServe's controller adds them
    (transformer_custom.go GetContainer). containerConcurrency is left out: it would become `--workers`, and workers
    answer 501.
    """
    return {
        **_component(replicas, timeout_s),
        "containers": [
            {
                "name": "kserve-container",
                "image": image,
                "command": ["python", "-m", "predictors.transformer"],
                "args": _transformer_args(bundle, request_timeout_ms),
                **_container(f"/v1/models/{service}"),
                "resources": compute.to_resources(),
            }
        ],
        "volumes": _volumes(),
    }


def inference_graph(*, name: str, namespace: str, services: list[str], timeouts: Timeouts) -> Document:
    """The chain: each stage gets the stage before's answer byte for byte, and a stage's failure is the reply.

    `dependency: Hard` because the default hands a stage's error to the next stage as its input (cmd/router/main.go
    routeStep).
    """
    return {
        "apiVersion": "serving.kserve.io/v1alpha1",
        "kind": "InferenceGraph",
        "metadata": _metadata(name, name, namespace, annotations=_ANNOTATIONS),
        "spec": {
            "nodes": {"root": {"routerType": "Sequence", "steps": [_step(i, each) for i, each in enumerate(services)]}},
            "routerTimeouts": {
                "serverRead": timeouts.server_read_s,
                "serverWrite": timeouts.server_write_s,
                "serverIdle": timeouts.server_idle_s,
                "serviceClient": timeouts.service_client_s,
            },
            "resources": ROUTER.to_resources(),
        },
    }


def _step(index: int, service: str) -> Document:
    step = {"name": service, "serviceName": service, "dependency": "Hard"}
    return step | ({"data": "$response"} if index else {})


def _transformer_args(bundle: Bundle, request_timeout_ms: int) -> list[str]:
    picture = bundle.picture
    return [
        f"--input_size={picture.height}x{picture.width}",
        f"--fit={picture.fit}",
        *([f"--resize={picture.resize}"] if picture.resize is not None else []),
        f"--interpolation={picture.interpolation}",
        f"--bundle_digest={bundle.digest}",
        f"--max_instances={bundle.max_instances}",
        f"--max_request_bytes={bundle.limits.request_bytes}",
        f"--max_body_bytes={bundle.limits.body_bytes}",
        f"--max_pixels={bundle.limits.pixels}",
        f"--request_timeout_ms={request_timeout_ms}",
        "--enable_grpc=false",
    ]


def _metadata(
    name: str, app: str, namespace: str, *, annotations: dict[str, str], stage: int | None = None
) -> Document:
    labels = {"app.kubernetes.io/part-of": app, "app.kubernetes.io/managed-by": "shardline"}
    if stage is not None:
        labels["shardline/stage"] = str(stage)
    return {"name": name, "namespace": namespace, "labels": labels} | (
        {"annotations": dict(annotations)} if annotations else {}
    )


def _component(replicas: int, timeout_s: int) -> Document:
    return {
        "minReplicas": replicas,
        "maxReplicas": replicas,
        "timeout": timeout_s,  # of the HTTPRoute, whose default is 60 s
        "terminationGracePeriodSeconds": GRACE_S,
    }


def _container(model_path: str) -> Document:
    """What shard and transformer have in common. `model_path` answers 200 once the model is loaded and warm."""
    return {
        "imagePullPolicy": "IfNotPresent",
        "env": [dict(each) for each in _ENV],
        "ports": [{"containerPort": HTTP_PORT, "protocol": "TCP"}],
        # Loading may take minutes; 10 of them is also when a Deployment's rollout counts as failed.
        "startupProbe": _probe(model_path, period_s=2, timeout_s=2, failures=300),
        "readinessProbe": _probe(model_path, period_s=5, timeout_s=5, failures=3),
        "livenessProbe": _probe("/", period_s=10, timeout_s=10, failures=6),
        "lifecycle": {"preStop": {"sleep": {"seconds": PRE_STOP_S}}},
        "securityContext": {
            "runAsNonRoot": True,
            "readOnlyRootFilesystem": True,
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
    }


def _volumes() -> list[Document]:
    return [{"name": "tmp", "emptyDir": {}}]  # the root file system is read-only


def _probe(path: str, *, period_s: int, timeout_s: int, failures: int) -> Document:
    return {
        "httpGet": {"path": path, "port": HTTP_PORT},
        "periodSeconds": period_s,
        "timeoutSeconds": timeout_s,
        "failureThreshold": failures,
    }
