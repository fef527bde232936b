"""What a stage's pod and the transformer's have in common: probes, shutdown, rollout, and the rights they give up."""

from shardline.manifests.names import COMPONENT_LABEL, SERVICE_LABEL, Document, Names
from shardline.manifests.network import HTTP_PORT
from shardline.manifests.options import RenderOptions
from shardline.manifests.placement import rollout

# A pod that is to go: PRE_STOP_S let the Service forget it, then SIGTERM; for DRAIN_S it tells those who still hold a
# connection to close it; the SDK finishes what runs within 30 s.
PRE_STOP_S = 10
DRAIN_S = 15
GRACE_S = 60
USER = 65532  # "nonroot" of distroless images; a number, for the kubelet cannot see that a name is not root's
KNATIVE_TIMEOUT_S = 600  # max-revision-timeout-seconds of its config-defaults, over which its webhook refuses

# Threads that wait for work must not spin: with several processes on a node they take each other's CPU.
_ENV = [
    {"name": "OMP_WAIT_POLICY", "value": "PASSIVE"},
    {"name": "PYTHONUNBUFFERED", "value": "1"},
]


def component(names: Names, service: str, kind: str, options: RenderOptions, *, timeout_s: int, gpu: bool) -> Document:
    """The fields of a predictor or transformer (`kind`) but for its containers."""
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
        "timeout": timeout_s,  # of the HTTPRoute, whose default is 60 s
        "deploymentStrategy": rollout(gpu=gpu),
        "terminationGracePeriodSeconds": GRACE_S,
        # Of KServe's storage initializer, too, which has none of its own: its image may name no user but root.
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
    """The container of a server. `model_path` answers 200 once the model is loaded and warm.

    A server that refuses its shard ends with one line; FallbackToLogsOnError puts it into the pod's status, where
    `kubectl describe` shows it.
    """
    return {
        "name": "kserve-container",
        "image": image,
        "imagePullPolicy": options.image_pull_policy,
        "command": ["python", "-m", module],
        "args": args,
        **({"resources": resources} if resources else {}),
        "env": [dict(each) for each in _ENV],
        "ports": [{"containerPort": HTTP_PORT, "protocol": "TCP"}],
        # Loading may take minutes; 10 of them is also when a Deployment's rollout counts as failed.
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
    """Knative's queue-proxy drains in front of the server."""
    return [] if options.knative else [f"--drain_seconds={DRAIN_S}"]


def volumes() -> list[Document]:
    return [{"name": "tmp", "emptyDir": {}}]  # the root file system is read-only


def _probe(path: str, *, period_s: int, timeout_s: int, failures: int) -> Document:
    return {
        "httpGet": {"path": path, "port": HTTP_PORT},
        "periodSeconds": period_s,
        "timeoutSeconds": timeout_s,
        "failureThreshold": failures,
    }
