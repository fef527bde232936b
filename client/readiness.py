"""Whether a chain in a cluster can answer, and if not, which stage cannot and why.

An InferenceGraph's own Ready does not tell: KServe sets it once the router's Deployment has a condition `Available`,
whatever that says, and looks at no stage. An InferenceService's leaves its transformer out. And `observedGeneration` of
both is the Deployment's. So everything is looked at here: what the router has been started with, the roll-out of each
Deployment, each condition, each pod. `look` asks the cluster, all else is made of documents alone.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from shardline.client.cluster import Cluster
from shardline.client.diagnosis import condition, is_ready, pods_problem, rollout_problem, wanted_replicas
from shardline.client.graphs import (
    COMPONENT_LABEL,
    GRAPH_LABEL,
    MANAGED_LABEL,
    SERVICE_LABEL,
    STAGE_LABEL,
    is_standard,
    router_is_stale,
    services_of,
)
from shardline.client.refusals import one_line
from shardline.client.states import ChainState, PartState, StageState
from shardline.wire.errors import ClusterDownError, ClusterError

Document = dict[str, Any]

_POLL_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the cluster holds of one chain. None is what these credentials may not look at."""

    graph: Document | None = None
    services: Mapping[str, Document] = field(default_factory=dict)
    deployments: Mapping[str, Document] | None = field(default_factory=dict)
    pods: Sequence[Document] = ()
    runtimes: frozenset[str] | None = None


def wait_ready(
    cluster: Cluster,
    name: str,
    namespace: str,
    timeout_s: float,
    on_progress: Callable[[ChainState], None] | None = None,
    *,
    enough: Callable[[ChainState], bool] = lambda state: state.ready,
) -> ChainState:
    """Look again and again until the graph and all stages are ready, or what is `enough`; each look is reported.

    An API server that does not answer is asked again, too.

    Raises:
        ClusterError: refused, or not ready in time: which stage, and why.
    """
    give_up_at = time.monotonic() + timeout_s
    while True:
        try:
            state = chain_state(cluster, name, namespace)
            if on_progress:
                on_progress(state)
            if enough(state):
                return state
            waiting_for = state.waiting_for()
        except ClusterDownError as exc:
            waiting_for = str(exc)
        if time.monotonic() + _POLL_S > give_up_at:
            raise ClusterError(f"{name} in namespace {namespace} is not ready after {timeout_s:g} s: {waiting_for}")
        time.sleep(_POLL_S)


def chain_state(cluster: Cluster, name: str, namespace: str) -> ChainState:
    """Of the InferenceGraph of that name, or if there is none, of the InferenceService."""
    return judge(name, namespace, look(cluster, name, namespace))


def stages_of(cluster: Cluster, graph: Document) -> tuple[StageState, ...]:
    """The stages of a graph that the cluster need not have yet."""
    name, namespace = graph["metadata"]["name"], graph["metadata"]["namespace"]
    return judge(name, namespace, _look(cluster, name, namespace, graph)).stages


def look(cluster: Cluster, name: str, namespace: str) -> Facts:
    """Ask for everything that belongs to one chain."""
    return _look(cluster, name, namespace, cluster.get("InferenceGraph", namespace, name))


def _look(cluster: Cluster, name: str, namespace: str, graph: Document | None) -> Facts:
    names = services_of(graph) if graph else [name]
    found = {one["metadata"]["name"]: one for one in cluster.select("InferenceService", namespace)}
    selectors = [f"{SERVICE_LABEL} in ({','.join(names)})"] if names else []
    selectors += [f"{GRAPH_LABEL}={name}"] if graph else []
    deployments = _all(cluster, "Deployment", namespace, selectors)
    return Facts(
        graph=graph,
        services={one: found[one] for one in names if one in found},
        deployments=None if deployments is None else {one["metadata"]["name"]: one for one in deployments},
        pods=_all(cluster, "Pod", namespace, selectors) or [],
        runtimes=_runtimes(cluster, namespace),
    )


def _all(cluster: Cluster, kind: str, namespace: str, selectors: Sequence[str]) -> list[Document] | None:
    """What any of the label selectors finds; None where it is not allowed to look."""
    try:
        return [one for labels in selectors for one in cluster.select(kind, namespace, labels=labels)]
    except ClusterDownError:
        raise
    except ClusterError:
        return None


def _runtimes(cluster: Cluster, namespace: str) -> frozenset[str] | None:
    """The names that an InferenceService may give as its runtime."""
    found = [_all(cluster, kind, namespace, [""]) for kind in ("ServingRuntime", "ClusterServingRuntime")]
    if any(one is None for one in found):
        return None
    return frozenset(one["metadata"]["name"] for some in found for one in some or [])


def judge(name: str, namespace: str, facts: Facts) -> ChainState:
    """What the documents say of the whole chain."""
    services = services_of(facts.graph) if facts.graph else [name]
    stages = tuple(stage_state(index, service, facts) for index, service in enumerate(services))
    if facts.graph is None:
        return ChainState(name=name, namespace=namespace, stages=stages)
    pods = _labelled(facts.pods, {GRAPH_LABEL: name})
    router = _part("router", name, pods, facts, standard=is_standard(facts.graph))
    problem = _graph_problem(facts.graph, (facts.deployments or {}).get(name))
    return ChainState(name=name, namespace=namespace, router=router, problem=problem, stages=stages)


def _graph_problem(graph: Document, deployment: Document | None) -> str:
    if not services_of(graph):
        return "it names no InferenceService"
    if deployment and router_is_stale(graph, deployment):
        return "the router still runs the chain of before"
    return _unmet(graph, ["Ready"])


def stage_state(place: int, name: str, facts: Facts) -> StageState:
    """What the documents say of one service, `place` steps behind the first."""
    service = facts.services.get(name)
    if service is None:
        return StageState(index=place, service=name, problem="there is no InferenceService of that name")
    index = _stage_number(service, place)
    roles = [role for role in ("transformer", "predictor") if role in service["spec"]]
    parts = tuple(_service_part(service, role, facts) for role in roles)
    problem = _spec_problem(service, facts.runtimes)
    if not problem and all(not part.problem for part in parts):
        problem = _unmet(service, [*(f"{role.capitalize()}Ready" for role in roles), "Ready"])
    return StageState(index=index, service=name, parts=parts, problem=problem)


def _stage_number(service: Document, place: int) -> int | None:
    """As its label says; of a service that Shardline did not make, its place."""
    labels = service["metadata"].get("labels") or {}
    number = labels.get(STAGE_LABEL)
    if number is not None and number.isdecimal():
        return int(number)
    own_step = labels.get(MANAGED_LABEL) == "shardline" and "model" not in (service["spec"].get("predictor") or {})
    return None if own_step else place


def _service_part(service: Document, role: str, facts: Facts) -> PartState:
    owner = service["metadata"]["name"]
    name = f"{owner}-{role}"
    pods = _labelled(facts.pods, {SERVICE_LABEL: owner, COMPONENT_LABEL: role})
    part = _part(role, name, pods, facts, standard=is_standard(service))
    deployment = (facts.deployments or {}).get(name)
    if deployment and not part.problem and not _arguments(service, role) <= _deployed_arguments(deployment):
        return replace(part, problem="KServe has not yet taken over its latest change")
    return part


def _part(role: str, name: str, pods: Sequence[Document], facts: Facts, *, standard: bool) -> PartState:
    """From its Deployment and pods; from its pods alone where Knative names the Deployments or they may not be read."""
    if not standard or facts.deployments is None:
        ready = sum(map(is_ready, pods))
        return PartState(name=role, ready=ready, wanted=len(pods), problem="" if ready else pods_problem(pods))
    deployment = facts.deployments.get(name)
    if deployment is None:
        return PartState(name=role, ready=0, wanted=1, problem=f"KServe has not made Deployment {name}")
    problem = rollout_problem(deployment)
    available = (deployment.get("status") or {}).get("availableReplicas", 0)
    why = (pods_problem(pods) or problem) if problem else ""
    return PartState(name=role, ready=available, wanted=wanted_replicas(deployment), problem=why)


def _labelled(pods: Sequence[Document], labels: Mapping[str, str]) -> list[Document]:
    return [pod for pod in pods if labels.items() <= (pod["metadata"].get("labels") or {}).items()]


def _arguments(service: Document, role: str) -> set[str]:
    """What the InferenceService itself says of its first container: KServe adds the runtime's arguments and its own."""
    component = service["spec"][role]
    container = component.get("model") or (component.get("containers") or [{}])[0]
    return {one for one in container.get("args") or [] if "{{" not in one}  # KServe fills templates in


def _deployed_arguments(deployment: Document) -> set[str]:
    containers = deployment["spec"]["template"]["spec"]["containers"]
    return {argument for container in containers for argument in container.get("args") or []}


def _spec_problem(service: Document, runtimes: frozenset[str] | None) -> str:
    """What no pod will ever make good."""
    runtime = ((service["spec"].get("predictor") or {}).get("model") or {}).get("runtime")
    if runtime and runtimes is not None and runtime not in runtimes:
        return f"there is no ServingRuntime {runtime!r} for it in its namespace"
    if condition(service, "Stopped").get("status") == "True":
        return "it is stopped (annotation serving.kserve.io/stop)"
    model = (service.get("status") or {}).get("modelStatus") or {}
    failure = model.get("lastFailureInfo") or {}
    if model.get("transitionStatus") == "InvalidSpec":
        return one_line(f"{failure.get('reason', 'InvalidSpec')}: {failure.get('message', '')}")
    return ""


def _unmet(document: Document, types: Sequence[str]) -> str:
    """The first of these conditions that does not hold, in its own words."""
    for type_ in types:
        found = condition(document, type_)
        if found.get("status") != "True":
            said = [one for one in (found.get("reason"), found.get("message")) if one]
            return one_line(f"{type_} is {found.get('status', 'not yet set')}{': ' if said else ''}{': '.join(said)}")
    return ""
