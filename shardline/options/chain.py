"""The options that say how a chain runs on a cluster: `render` writes it down, `deploy` does it.

    @takes_chain_options
    def render(bundle: ..., *, chain: ChainOptions) -> None:

gives the command all the options below, and it gets one value.
"""

from collections.abc import Callable
from functools import partial
from typing import Annotated, Any

from shardline.manifests.access import BucketAccess
from shardline.manifests.network import Exposure, Network
from shardline.manifests.options import IMAGE, TRANSFORMER_IMAGE, RenderOptions, parse_overrides
from shardline.manifests.placement import GPU, Placement, parse_node_selector, parse_toleration
from shardline.manifests.scaling import Scaling
from shardline.options.group import option, takes_options

PODS, SCALING, ACCESS, NETWORK = "Pods", "Scaling", "Access to the bucket", "Network"
PART = "for each container, or PART=QUANTITY for stages, transformer or router"

ChainOptions = Callable[..., RenderOptions]  # waits for the rest: storage, name, namespace and the like


def _chain_options(
    image: Annotated[str, option(help="of the stages", panel=PODS)] = IMAGE,
    transformer: Annotated[
        str | None,
        option(
            help="component of the first stage's service, or step of the graph; default: step with two stages or more",
            panel=PODS,
        ),
    ] = None,
    transformer_image: Annotated[str, option(help="of the transformer", panel=PODS)] = TRANSFORMER_IMAGE,
    pull_policy: Annotated[str, option(help="Always, IfNotPresent or Never", panel=PODS)] = "IfNotPresent",
    pull_secret: Annotated[str | None, option(help="Secret for the images' registry", panel=PODS)] = None,
    cpu_request: Annotated[list[str] | None, option(help=f"e.g. 100m; {PART}", panel=PODS)] = None,
    cpu_limit: Annotated[
        list[str] | None, option(help="likewise; a stage's is its number of threads", panel=PODS)
    ] = None,
    memory_request: Annotated[list[str] | None, option(help=f"e.g. 1Gi; {PART}", panel=PODS)] = None,
    memory_limit: Annotated[list[str] | None, option(help="likewise", panel=PODS)] = None,
    gpu: Annotated[bool, option("--gpu", help=f"a GPU for each stage: --gpu-resource {GPU}", panel=PODS)] = False,
    gpu_resource: Annotated[
        str | None, option(help="what each stage takes one of, e.g. nvidia.com/mig-1g.10gb", panel=PODS)
    ] = None,
    node_selector: Annotated[
        list[str] | None, option(metavar="KEY=VALUE", help="label of the stages' nodes; repeatable", panel=PODS)
    ] = None,
    toleration: Annotated[
        list[str] | None,
        option(metavar="KEY[=VALUE][:EFFECT]", help="taint that the stages bear; repeatable", panel=PODS),
    ] = None,
    spread: Annotated[
        list[str] | None,
        option(metavar="KEY", help="spread replicas over nodes by this label, e.g. kubernetes.io/hostname", panel=PODS),
    ] = None,
    colocate: Annotated[
        bool, option("--colocate", help="prefer one node for the chain: frames cross no network", panel=PODS)
    ] = False,
    replicas: Annotated[int, option(help="pods of each stage, the transformer and the router", panel=SCALING)] = 1,
    autoscaler: Annotated[str, option(help="none, hpa or keda", panel=SCALING)] = "none",
    max_replicas: Annotated[int | None, option(help="most pods of a stage, with an autoscaler", panel=SCALING)] = None,
    cpu_target: Annotated[int, option(help="percent of the CPU request, for hpa", panel=SCALING)] = 80,
    prometheus: Annotated[str | None, option(metavar="URL", help="that keda asks", panel=SCALING)] = None,
    requests_per_pod: Annotated[int, option(help="running at once in a stage, for keda", panel=SCALING)] = 2,
    service_account: Annotated[str | None, option(help="of the stages' pods", panel=ACCESS)] = None,
    gcs_secret: Annotated[str | None, option(help="Secret with a Google key", panel=ACCESS)] = None,
    workload_identity: Annotated[
        str | None, option(metavar="EMAIL", help="Google service account that the pods act as", panel=ACCESS)
    ] = None,
    network_policy: Annotated[
        bool, option(help="only the chain's own pods may reach its stages", panel=NETWORK)
    ] = True,
    allow_namespace: Annotated[
        list[str] | None, option(help="whose pods may, too, e.g. Prometheus'; repeatable", panel=NETWORK)
    ] = None,
    ingress_host: Annotated[str | None, option(help="host name under which the chain is asked", panel=NETWORK)] = None,
    ingress_class: Annotated[str | None, option(help="of the Ingress; default: the cluster's", panel=NETWORK)] = None,
    tls_secret: Annotated[str | None, option(help="Secret with the host's certificate", panel=NETWORK)] = None,
    gateway: Annotated[
        str | None, option(metavar="[NAMESPACE/]NAME", help="an HTTPRoute at it, in place of an Ingress", panel=NETWORK)
    ] = None,
) -> ChainOptions:
    """
    Raises:
        ManifestError: an option that Kubernetes or KServe would refuse.
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
            cpu_percent=cpu_target,
            prometheus=prometheus,
            requests_per_pod=requests_per_pod,
        ),
        placement=Placement(
            gpu_resource=gpu_resource or (GPU if gpu else None),
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


takes_chain_options = takes_options("chain", _chain_options)
