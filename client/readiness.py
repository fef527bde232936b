"""Readiness of a chain in a cluster: whether it can answer, and if not, which stage cannot and why.

The condition Ready of an InferenceGraph is not enough: KServe sets it as soon as the router's Deployment has a
condition `Available`, whatever its value, and checks no stage. That of an InferenceService leaves its transformer out.
And the `observedGeneration` of both is the Deployment's. So this module checks everything: the graph that the router
was started with, the rollout of each Deployment, each condition and each pod. `read_facts` reads the cluster; all other
functions work on documents alone.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from shardline.client.diagnosis import condition, is_ready, pods_problem, rollout_problem, wanted_replicas
from shardline.client.graphs import is_standard, router_is_stale, services_of
from shardline.client.labels import (
    COMPONENT_LABEL,
    GRAPH_LABEL,
    MANAGED_LABEL,
    SERVICE_LABEL,
    STAGE_LABEL,
    Document,
)
from shardline.client.remedies import one_line
from shardline.client.waiting import wait_until
from shardline.wire.errors import ClusterDownError, ClusterError

if TYPE_CHECKING:
    from shardline.client.cluster import Cluster

_POLL_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ComponentState:
    """State of one Deployment: the router, or a stage's transformer or predictor.

    `problem` is "" if all its pods are ready.
    """

    name: str
    ready: int
    wanted: int
    problem: str

    @property
    def serves(self) -> bool:
        """Tell whether at least one pod can answer. Knative scales to 0 pods while there are no requests."""
        return self.ready > 0 or (self.wanted == 0 and not self.problem)

    def __str__(self) -> str:
        return f"{self.name} {self.ready}/{self.wanted}"


@dataclass(frozen=True, slots=True, kw_only=True)
class StageState:
    """State of one InferenceService.

    Attributes:
        index: number of the stage; None: a transformer that is a step of its own.
        parts: its transformer and its predictor.
        problem: what is wrong with the service apart from its parts.
    """

    index: int | None
    service: str
    parts: tuple[ComponentState, ...] = ()
    problem: str = ""

    @property
    def ready(self) -> bool:
        return not self.problem and all(not component.problem for component in self.parts)

    @property
    def serves(self) -> bool:
        """Tell whether it can answer, perhaps not with all its replicas."""
        return not self.problem and bool(self.parts) and all(component.serves for component in self.parts)

    def __str__(self) -> str:
        step = "transformer" if self.index is None else f"stage {self.index}"
        return f"{step} {self.service}: {_summary(self.parts, self.problem)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainState:
    """State of an InferenceGraph with all its stages, or of one InferenceService, which has no router."""

    name: str
    namespace: str
    router: ComponentState | None = None
    problem: str = ""
    stages: tuple[StageState, ...] = ()

    @property
    def ready(self) -> bool:
        """Tell whether all replicas of everything are ready."""
        router = self.router is None or not self.router.problem
        return bool(self.stages) and not self.problem and router and all(stage.ready for stage in self.stages)

    @property
    def serves(self) -> bool:
        """Tell whether a request can be answered: at least one replica of everything is ready."""
        router = self.router is None or self.router.serves
        return bool(self.stages) and not self.problem and router and all(stage.serves for stage in self.stages)

    def lines(self) -> list[str]:
        """One line for the graph, and one for each stage."""
        graph = [f"graph {self.name}: {_summary((self.router,) if self.router else (), self.problem)}"]
        return (graph if self.router or self.problem else []) + [str(stage) for stage in self.stages]

    def waiting_for(self) -> str:
        """The first stage that is not ready and the reason, else the graph's; "" if all is ready."""
        stages = [str(stage) for stage in self.stages if not stage.ready]
        graph_waits = self.problem or (self.router and self.router.problem)
        return (stages + (self.lines()[:1] if graph_waits else []) + [""])[0]


def _summary(components: Sequence[ComponentState], problem: str) -> str:
    """ "ready (…)", or the problem: that of the spec itself before that of the first component that has one."""
    counts = ", ".join(map(str, components))
    if problem:
        return f"{problem} ({counts})" if counts else problem
    failing = next((component for component in components if component.problem), None)
    return f"{failing}: {failing.problem}" if failing else f"ready ({counts})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Documents of one chain in the cluster; None where these credentials may not read them."""

    graph: Document | None = None
    services: Mapping[str, Document] = field(default_factory=dict)
    deployments: Mapping[str, Document] | None = field(default_factory=dict)
    pods: Sequence[Document] = ()
    runtimes: frozenset[str] | None = None


def wait_ready(
    cluster: "Cluster",
    name: str,
    namespace: str,
    timeout_s: float,
    on_progress: Callable[[ChainState], None] | None = None,
    *,
    enough: Callable[[ChainState], bool] = lambda state: state.ready,
) -> ChainState:
    """Poll the cluster until the graph and all stages are ready, or until `enough` is true of their state.

    Each state is passed to `on_progress`. An API server that does not answer is asked again, too.

    Raises:
        ClusterError: the API server refuses, or the chain is not ready in time; the stage and its reason are named.
    """
    waiting_for = ""

    def check() -> ChainState | None:
        nonlocal waiting_for
        try:
            state = chain_state(cluster, name, namespace)
        except ClusterDownError as exc:
            waiting_for = str(exc)
            return None
        if on_progress:
            on_progress(state)
        waiting_for = state.waiting_for()
        return state if enough(state) else None

    try:
        state = wait_until(check, timeout_s, interval_s=_POLL_S)
    except TimeoutError as exc:
        message = f"{name} in namespace {namespace} is not ready after {timeout_s:g} s: {waiting_for}"
        raise ClusterError(message) from exc
    assert state is not None
    return state


def chain_state(cluster: "Cluster", name: str, namespace: str) -> ChainState:
    """Read the state of the InferenceGraph of that name, or if there is none, of the InferenceService."""
    return judge(name, namespace, read_facts(cluster, name, namespace))


def stages_of(cluster: "Cluster", graph: Document) -> tuple[StageState, ...]:
    """States of the stages of a graph, which need not be in the cluster yet."""
    name, namespace = graph["metadata"]["name"], graph["metadata"]["namespace"]
    return judge(name, namespace, _read_facts(cluster, name, namespace, graph)).stages


def read_facts(cluster: "Cluster", name: str, namespace: str) -> Facts:
    """Read everything that belongs to one chain."""
    return _read_facts(cluster, name, namespace, cluster.get("InferenceGraph", namespace, name))


def _read_facts(cluster: "Cluster", name: str, namespace: str, graph: Document | None) -> Facts:
    names = services_of(graph) if graph else [name]
    found = {document["metadata"]["name"]: document for document in cluster.select("InferenceService", namespace)}
    selectors = [f"{SERVICE_LABEL} in ({','.join(names)})"] if names else []
    selectors += [f"{GRAPH_LABEL}={name}"] if graph else []
    deployments = _all(cluster, "Deployment", namespace, selectors)
    return Facts(
        graph=graph,
        services={service: found[service] for service in names if service in found},
        deployments=None if deployments is None else {item["metadata"]["name"]: item for item in deployments},
        pods=_all(cluster, "Pod", namespace, selectors) or [],
        runtimes=_runtimes(cluster, namespace),
    )


def _all(cluster: "Cluster", kind: str, namespace: str, selectors: Sequence[str]) -> list[Document] | None:
    """All objects that one of the label selectors finds; None if these credentials may not read them."""
    try:
        return [item for labels in selectors for item in cluster.select(kind, namespace, labels=labels)]
    except ClusterDownError:
        raise
    except ClusterError:
        return None


def _runtimes(cluster: "Cluster", namespace: str) -> frozenset[str] | None:
    """Names that an InferenceService may give as its runtime."""
    found = [_all(cluster, kind, namespace, [""]) for kind in ("ServingRuntime", "ClusterServingRuntime")]
    if any(runtimes is None for runtimes in found):
        return None
    return frozenset(runtime["metadata"]["name"] for runtimes in found for runtime in runtimes or [])


def judge(name: str, namespace: str, facts: Facts) -> ChainState:
    """State of the whole chain, from its documents."""
    services = services_of(facts.graph) if facts.graph else [name]
    stages = tuple(stage_state(index, service, facts) for index, service in enumerate(services))
    if facts.graph is None:
        return ChainState(name=name, namespace=namespace, stages=stages)
    pods = _labelled(facts.pods, {GRAPH_LABEL: name})
    router = _component("router", name, pods, facts, standard=is_standard(facts.graph))
    problem = _graph_problem(facts.graph, (facts.deployments or {}).get(name))
    return ChainState(name=name, namespace=namespace, router=router, problem=problem, stages=stages)


def _graph_problem(graph: Document, deployment: Document | None) -> str:
    if not services_of(graph):
        return "it names no InferenceService"
    if deployment and router_is_stale(graph, deployment):
        return "the router still serves the previous graph"
    return _unmet(graph, ["Ready"])


def stage_state(position: int, name: str, facts: Facts) -> StageState:
    """State of one service, from its documents; `position` counts the steps before it."""
    service = facts.services.get(name)
    if service is None:
        return StageState(index=position, service=name, problem="there is no InferenceService of that name")
    index = _stage_number(service, position)
    roles = [role for role in ("transformer", "predictor") if role in service["spec"]]
    components = tuple(_service_component(service, role, facts) for role in roles)
    problem = _spec_problem(service, facts.runtimes)
    if not problem and all(not component.problem for component in components):
        problem = _unmet(service, [*(f"{role.capitalize()}Ready" for role in roles), "Ready"])
    return StageState(index=index, service=name, parts=components, problem=problem)


def _stage_number(service: Document, position: int) -> int | None:
    """Number in the service's label; for a service that Shardline did not render, its position."""
    labels = service["metadata"].get("labels") or {}
    number = labels.get(STAGE_LABEL)
    if number is not None and number.isdecimal():
        return int(number)
    own_step = labels.get(MANAGED_LABEL) == "shardline" and "model" not in (service["spec"].get("predictor") or {})
    return None if own_step else position


def _service_component(service: Document, role: str, facts: Facts) -> ComponentState:
    owner = service["metadata"]["name"]
    name = f"{owner}-{role}"
    pods = _labelled(facts.pods, {SERVICE_LABEL: owner, COMPONENT_LABEL: role})
    component = _component(role, name, pods, facts, standard=is_standard(service))
    deployment = (facts.deployments or {}).get(name)
    if deployment and not component.problem and not _arguments(service, role) <= _deployed_arguments(deployment):
        return replace(component, problem="KServe has not yet taken over its latest change")
    return component


def _component(role: str, name: str, pods: Sequence[Document], facts: Facts, *, standard: bool) -> ComponentState:
    """State of one Deployment and its pods; of the pods alone if Knative names it or it may not be read."""
    if not standard or facts.deployments is None:
        ready = sum(map(is_ready, pods))
        return ComponentState(name=role, ready=ready, wanted=len(pods), problem="" if ready else pods_problem(pods))
    deployment = facts.deployments.get(name)
    if deployment is None:
        return ComponentState(name=role, ready=0, wanted=1, problem=f"KServe has not made Deployment {name}")
    problem = rollout_problem(deployment)
    available = (deployment.get("status") or {}).get("availableReplicas", 0)
    reason = (pods_problem(pods) or problem) if problem else ""
    return ComponentState(name=role, ready=available, wanted=wanted_replicas(deployment), problem=reason)


def _labelled(pods: Sequence[Document], labels: Mapping[str, str]) -> list[Document]:
    return [pod for pod in pods if labels.items() <= (pod["metadata"].get("labels") or {}).items()]


def _arguments(service: Document, role: str) -> set[str]:
    """Arguments in the InferenceService itself, for its first container: KServe adds the runtime's and its own."""
    component = service["spec"][role]
    container = component.get("model") or (component.get("containers") or [{}])[0]
    return {argument for argument in container.get("args") or [] if "{{" not in argument}  # KServe fills templates in


def _deployed_arguments(deployment: Document) -> set[str]:
    containers = deployment["spec"]["template"]["spec"]["containers"]
    return {argument for container in containers for argument in container.get("args") or []}


def _spec_problem(service: Document, runtimes: frozenset[str] | None) -> str:
    """Problem of the spec that no pod can solve."""
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
    """The first of these conditions that is not True, with its reason and message; "" if all are."""
    for type_ in types:
        found = condition(document, type_)
        if found.get("status") != "True":
            texts = [text for text in (found.get("reason"), found.get("message")) if text]
            return one_line(f"{type_} is {found.get('status', 'not yet set')}{': ' if texts else ''}{': '.join(texts)}")
    return ""
