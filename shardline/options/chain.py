"""Options of a chain on a cluster: pods, scaling, access to the bucket, network.

`render` writes them into YAML, `deploy` applies them. docs/manifests.md explains each.
"""

from collections.abc import Callable
from functools import partial
from typing import Annotated, Any

from shardline.manifests.access import BucketAccess
from shardline.manifests.network import Exposure, Network
from shardline.manifests.options import CPU_IMAGE, IMAGE, TRANSFORMER_IMAGE, RenderOptions, parse_overrides
from shardline.manifests.placement import GPU, Placement, parse_node_selector, parse_toleration
from shardline.manifests.scaling import Scaling
from shardline.options.group import option, takes_options
from shardline.wire.errors import UsageError

_PODS, _SCALING, _ACCESS, _NETWORK = "Pods", "Scaling", "The pods' access to the bucket", "Network"
_PARTS = "for one part (stages, transformer, router); repeatable"

ChainOptions = Callable[..., RenderOptions]  # waits for the rest: storage, name, namespace and the like


def _chain_options(
    image: Annotated[
        str | None,
        option(help=f"Image of the stages (default: {CPU_IMAGE}, with GPUs {IMAGE})", panel=_PODS),
    ] = None,
    transformer: Annotated[
        str | None,
        option(
            metavar="NAME",
            help="Place of the transformer: component of the first stage's InferenceService, or step of the graph "
            "(default: step with two stages or more, else component)",
            panel=_PODS,
        ),
    ] = None,
    transformer_image: Annotated[str, option(help="Image of the transformer", panel=_PODS)] = TRANSFORMER_IMAGE,
    pull_policy: Annotated[
        str, option(help="Pull policy of the images: Always, IfNotPresent or Never", panel=_PODS)
    ] = "IfNotPresent",
    pull_secret: Annotated[
        str | None,
        option(metavar="NAME", help="Secret with the image registry's credentials (default: none)", panel=_PODS),
    ] = None,
    cpu_request: Annotated[
        list[str] | None,
        option(metavar="CPU", help=f"CPU request, e.g. 100m, or e.g. stages=500m {_PARTS}", panel=_PODS),
    ] = None,
    cpu_limit: Annotated[
        list[str] | None,
        option(
            metavar="CPU",
            help=f"CPU limit, e.g. 2, or e.g. stages=4 {_PARTS}; a stage computes with as many threads",
            panel=_PODS,
        ),
    ] = None,
    memory_request: Annotated[
        list[str] | None,
        option(metavar="SIZE", help=f"Memory request, e.g. 1Gi, or e.g. router=256Mi {_PARTS}", panel=_PODS),
    ] = None,
    memory_limit: Annotated[
        list[str] | None,
        option(metavar="SIZE", help=f"Memory limit, e.g. 2Gi, or e.g. router=512Mi {_PARTS}", panel=_PODS),
    ] = None,
    gpu: Annotated[
        bool, option("--gpu", help=f"Give each stage a GPU; short for --gpu-resource {GPU}", panel=_PODS)
    ] = False,
    gpu_resource: Annotated[
        str | None,
        option(
            metavar="NAME",
            help="Extended resource of which each stage gets one, e.g. nvidia.com/mig-1g.10gb (default: none)",
            panel=_PODS,
        ),
    ] = None,
    node_selector: Annotated[
        list[str] | None,
        option(metavar="KEY=VALUE", help="Label that the stages' nodes must have; repeatable", panel=_PODS),
    ] = None,
    toleration: Annotated[
        list[str] | None,
        option(
            metavar="TAINT",
            help="Taint that the stages tolerate, as KEY[=VALUE][:EFFECT]; repeatable",
            panel=_PODS,
        ),
    ] = None,
    spread: Annotated[
        list[str] | None,
        option(
            metavar="KEY",
            help="Node label over whose values replicas are spread, e.g. kubernetes.io/hostname; repeatable",
            panel=_PODS,
        ),
    ] = None,
    colocate: Annotated[
        bool,
        option(
            "--colocate", help="Prefer one node for the whole chain, so that no frame crosses the network", panel=_PODS
        ),
    ] = False,
    replicas: Annotated[
        int, option(help="Number of pods of each stage, of the transformer and of the router", panel=_SCALING)
    ] = 1,
    autoscaler: Annotated[
        str, option(metavar="NAME", help="Autoscaler of the stages: none, hpa or keda", panel=_SCALING)
    ] = "none",
    max_replicas: Annotated[
        int | None, option(help="Maximum number of pods of a stage; an autoscaler needs it", panel=_SCALING)
    ] = None,
    cpu_target: Annotated[
        int | None,
        option(
            metavar="PERCENT",
            help="CPU load that the HPA aims at, in percent of the request (default: 80)",
            panel=_SCALING,
        ),
    ] = None,
    prometheus: Annotated[
        str | None, option(metavar="URL", help="URL of the Prometheus server that KEDA queries", panel=_SCALING)
    ] = None,
    requests_per_pod: Annotated[
        int | None,
        option(help="Number of concurrent requests in a stage that KEDA aims at (default: 2)", panel=_SCALING),
    ] = None,
    service_account: Annotated[
        str | None,
        option(metavar="NAME", help="ServiceAccount of the stages' pods (default: the namespace's)", panel=_ACCESS),
    ] = None,
    gcs_secret: Annotated[
        str | None,
        option(
            metavar="NAME", help="Secret with the JSON key of a Google service account (default: none)", panel=_ACCESS
        ),
    ] = None,
    workload_identity: Annotated[
        str | None,
        option(
            metavar="EMAIL", help="Google service account that the stages' pods act as (default: none)", panel=_ACCESS
        ),
    ] = None,
    network_policy: Annotated[
        bool, option(help="Write a NetworkPolicy: only the chain's own pods reach its stages", panel=_NETWORK)
    ] = True,
    allow_namespace: Annotated[
        list[str] | None,
        option(
            metavar="NAME",
            help="Namespace whose pods the NetworkPolicy also admits, e.g. that of Prometheus; repeatable",
            panel=_NETWORK,
        ),
    ] = None,
    ingress_host: Annotated[
        str | None,
        option(
            metavar="HOST",
            help="Host name under which the chain is reachable from outside (default: none)",
            panel=_NETWORK,
        ),
    ] = None,
    ingress_class: Annotated[
        str | None,
        option(metavar="NAME", help="Class of the Ingress (default: the cluster's default class)", panel=_NETWORK),
    ] = None,
    tls_secret: Annotated[
        str | None,
        option(
            metavar="NAME", help="Secret with the TLS certificate of the host (default: plain HTTP)", panel=_NETWORK
        ),
    ] = None,
    gateway: Annotated[
        str | None,
        option(
            metavar="NAME",
            help="Gateway, as NAME or NAMESPACE/NAME, of an HTTPRoute, which is written instead of an Ingress",
            panel=_NETWORK,
        ),
    ] = None,
) -> ChainOptions:
    """
    Raises:
        ManifestError, UsageError: an option that Kubernetes or KServe would refuse.
    """
    overrides: dict[str, Any] = parse_overrides(
        cpu_requests=cpu_request or (),
        cpu_limits=cpu_limit or (),
        memory_requests=memory_request or (),
        memory_limits=memory_limit or (),
    )
    return partial(
        RenderOptions,
        image=image,
        transformer_as=transformer,
        transformer_image=transformer_image,
        image_pull_policy=pull_policy,
        image_pull_secret=pull_secret,
        scaling=Scaling(
            replicas=replicas,
            autoscaler=autoscaler,
            max_replicas=max_replicas,
            prometheus=prometheus,
            **_autoscaling(autoscaler, cpu_target, requests_per_pod),
        ),
        placement=Placement(
            gpu_resource=_gpu_resource(gpu_resource, short=gpu),
            node_selector=parse_node_selector(node_selector or []),
            tolerations=tuple(map(parse_toleration, toleration or ())),
            spread=tuple(spread or ()),
            colocate=colocate,
        ),
        access=BucketAccess(
            service_account=service_account, gcs_secret=gcs_secret, workload_identity=workload_identity
        ),
        network=Network(policies=network_policy, allow_namespaces=tuple(allow_namespace or ())),
        exposure=Exposure(host=ingress_host, ingress_class=ingress_class, gateway=gateway, tls_secret=tls_secret),
        **overrides,
    )


def _autoscaling(autoscaler: str, cpu_target: int | None, requests_per_pod: int | None) -> dict[str, int]:
    """Values of `Scaling` that only one autoscaler has."""
    if cpu_target is not None and autoscaler != "hpa":
        raise UsageError(f"--cpu-target {cpu_target} is for --autoscaler hpa: give that, or leave it out")
    if requests_per_pod is not None and autoscaler != "keda":
        raise UsageError(f"--requests-per-pod {requests_per_pod} is for --autoscaler keda: give that, or leave it out")
    given = {"cpu_percent": cpu_target, "requests_per_pod": requests_per_pod}
    return {name: value for name, value in given.items() if value is not None}


def _gpu_resource(resource: str | None, *, short: bool) -> str | None:
    if short and resource not in (None, GPU):
        raise UsageError(f"--gpu is {GPU}, and --gpu-resource {resource}: leave one of them out")
    return GPU if short else resource


takes_chain_options = takes_options("chain", _chain_options)
