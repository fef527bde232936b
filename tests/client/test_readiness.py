"""States of chains from their documents: those that are ready, and the reasons of those that are not."""

from collections.abc import Callable
from typing import Any

import pytest
from services import kserve_documents as kserve
from services.kserve_documents import away, chain, find, set_condition

from shardline.client.readiness import ChainState, Facts, judge

Document = dict[str, Any]

OUR_ERROR = "error: stage 1: weights.safetensors has sha256 1f3a, the manifest says 9c0b: push the bundle again"


def facts(documents: list[Document]) -> Facts:
    """Facts as `read_facts` collects them."""

    def of(kind: str) -> dict[str, Document]:
        return {document["metadata"]["name"]: document for document in documents if document["kind"] == kind}

    return Facts(
        graph=of("InferenceGraph").get("resnet50"),
        services=of("InferenceService"),
        deployments=of("Deployment"),
        pods=list(of("Pod").values()),
        runtimes=frozenset(of("ServingRuntime")),
    )


def state_of(documents: list[Document]) -> ChainState:
    return judge("resnet50", kserve.NAMESPACE, facts(documents))


def test_a_chain_that_is_ready() -> None:
    state = state_of(chain(replicas=2))

    assert state.ready
    assert state.serves
    assert state.waiting_for() == ""
    assert state.lines() == [
        "graph resnet50: ready (router 2/2)",
        "stage 0 resnet50-s0: ready (transformer 2/2, predictor 2/2)",
        "stage 1 resnet50-s1: ready (predictor 2/2)",
    ]


def unschedulable(documents: list[Document]) -> None:
    pod = away(documents, "resnet50-s1-predictor")
    pod["status"] = {"phase": "Pending", "conditions": []}
    message = "0/1 nodes are available: 1 Insufficient memory."
    set_condition(pod, "PodScheduled", "False", "Unschedulable", message)


def crashing(documents: list[Document]) -> None:
    pod = away(documents, "resnet50-s1-predictor")
    ended = {"exitCode": 1, "reason": "Error", "message": f"loading /mnt/models\n{OUR_ERROR}\n"}
    pod["status"]["containerStatuses"][0] |= {
        "restartCount": 3,
        "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 40s restarting failed container"}},
        "lastState": {"terminated": ended},
    }


def just_ended(documents: list[Document]) -> None:
    pod = away(documents, "resnet50-s1-predictor")
    ended = {"exitCode": 1, "reason": "Error", "message": OUR_ERROR}
    pod["status"]["containerStatuses"][0] |= {"state": {"terminated": ended}}


def out_of_memory(documents: list[Document]) -> None:
    pod = away(documents, "resnet50-s1-predictor")
    pod["status"]["containerStatuses"][0] |= {
        "restartCount": 1,
        "state": {"running": {}},
        "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}},
    }


def initializer_failed(documents: list[Document]) -> None:
    pod = away(documents, "resnet50-s1-predictor")
    message = "Traceback (most recent call last):\n  File ...\nRuntimeError: Failed to fetch model. No model found in gs://b\n"
    pod["status"]["initContainerStatuses"] = [
        {
            "name": "storage-initializer",
            "ready": False,
            "restartCount": 2,
            "state": {"waiting": {"reason": "CrashLoopBackOff"}},
            "lastState": {"terminated": {"exitCode": 1, "reason": "Error", "message": message}},
        }
    ]
    pod["status"]["containerStatuses"][0]["state"] = {"waiting": {"reason": "PodInitializing"}}


def no_image(documents: list[Document]) -> None:
    pod = away(documents, "resnet50-s1-predictor")
    message = 'Back-off pulling image "shardline/shard:0.2"'
    pod["status"]["containerStatuses"][0]["state"] = {"waiting": {"reason": "ImagePullBackOff", "message": message}}


def loading(documents: list[Document]) -> None:
    away(documents, "resnet50-s1-predictor")


def being_made(documents: list[Document]) -> None:
    pod = away(documents, "resnet50-s1-predictor")
    pod["status"]["containerStatuses"][0]["state"] = {"waiting": {"reason": "ContainerCreating"}}


def evicted(documents: list[Document]) -> None:
    pod = away(documents, "resnet50-s1-predictor")
    pod["status"] = {"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory."}


def no_pod_allowed(documents: list[Document]) -> None:
    away(documents, "resnet50-s1-predictor")
    documents[:] = [document for document in documents if document["metadata"]["name"] != "resnet50-s1-predictor-0"]
    message = 'pods "resnet50-s1-predictor-7d9f-" is forbidden: exceeded quota: compute'
    set_condition(
        find(documents, "Deployment", "resnet50-s1-predictor"), "ReplicaFailure", "True", "FailedCreate", message
    )


def rolling_out(documents: list[Document]) -> None:
    find(documents, "Deployment", "resnet50-s1-predictor")["metadata"]["generation"] = 3


def half_rolled_out(documents: list[Document]) -> None:
    find(documents, "Deployment", "resnet50-s1-predictor")["status"]["replicas"] = 2


def scaled_to_nothing(documents: list[Document]) -> None:
    find(documents, "Deployment", "resnet50-s1-predictor")["spec"]["replicas"] = 0


def no_deployment(documents: list[Document]) -> None:
    documents.remove(find(documents, "Deployment", "resnet50-s1-predictor"))


def not_taken_over(documents: list[Document]) -> None:
    model = find(documents, "InferenceService", "resnet50-s1")["spec"]["predictor"]["model"]
    model["args"] = ["--bundle_digest=4567ef01"]


def no_service(documents: list[Document]) -> None:
    documents.remove(find(documents, "InferenceService", "resnet50-s1"))


def no_runtime(documents: list[Document]) -> None:
    documents.remove(find(documents, "ServingRuntime", "resnet50"))


def invalid(documents: list[Document]) -> None:
    failure = {"reason": "NoSupportingRuntime", "message": "No runtime found to support specified predictor"}
    model = {"transitionStatus": "InvalidSpec", "lastFailureInfo": failure}
    find(documents, "InferenceService", "resnet50-s1")["status"]["modelStatus"] = model


def stopped(documents: list[Document]) -> None:
    set_condition(find(documents, "InferenceService", "resnet50-s1"), "Stopped", "True", "Stopped")


def no_ingress(documents: list[Document]) -> None:
    service = find(documents, "InferenceService", "resnet50-s1")
    set_condition(service, "Ready", "False", "IngressNotReady", "waiting for the HTTPRoute")


def no_status(documents: list[Document]) -> None:
    del find(documents, "InferenceService", "resnet50-s1")["status"]


STAGE = "stage 1 resnet50-s1: "
PREDICTOR = f"{STAGE}predictor 0/1: "


@pytest.mark.parametrize(
    ("break_it", "line"),
    [
        (unschedulable, f"{PREDICTOR}Unschedulable: 0/1 nodes are available: 1 Insufficient memory."),
        (crashing, f"{PREDICTOR}kserve-container CrashLoopBackOff (exit 1, 3 restarts): {OUR_ERROR}"),
        (just_ended, f"{PREDICTOR}kserve-container ended (exit 1): {OUR_ERROR}"),
        (
            out_of_memory,
            f"{PREDICTOR}kserve-container OOMKilled (exit 137, 1 restart): "
            "it left no message: see kubectl logs --previous",
        ),
        (
            initializer_failed,
            f"{PREDICTOR}storage-initializer CrashLoopBackOff (exit 1, 2 restarts): "
            "RuntimeError: Failed to fetch model. No model found in gs://b",
        ),
        (no_image, f'{PREDICTOR}kserve-container ImagePullBackOff: Back-off pulling image "shardline/shard:0.2"'),
        (loading, f"{PREDICTOR}kserve-container is running, not ready yet"),
        (being_made, f"{PREDICTOR}kserve-container is starting"),
        (evicted, f"{PREDICTOR}Evicted: The node was low on resource: memory."),
        (
            no_pod_allowed,
            f'{PREDICTOR}no pod can be created: pods "resnet50-s1-predictor-7d9f-" is forbidden: exceeded quota: '
            "compute",
        ),
        (rolling_out, f"{STAGE}predictor 1/1: its latest change is not yet rolled out"),
        (half_rolled_out, f"{STAGE}predictor 1/1: 1 pod of the previous revision is still running"),
        (scaled_to_nothing, f"{STAGE}predictor 1/0: it is scaled to 0 replicas"),
        (no_deployment, f"{PREDICTOR}KServe has not made Deployment resnet50-s1-predictor"),
        (not_taken_over, f"{STAGE}predictor 1/1: KServe has not yet taken over its latest change"),
        (no_service, f"{STAGE}there is no InferenceService of that name"),
        (invalid, f"{STAGE}NoSupportingRuntime: No runtime found to support specified predictor (predictor 1/1)"),
        (stopped, f"{STAGE}it is stopped (annotation serving.kserve.io/stop) (predictor 1/1)"),
        (no_ingress, f"{STAGE}Ready is False: IngressNotReady: waiting for the HTTPRoute (predictor 1/1)"),
        (no_status, f"{STAGE}PredictorReady is not yet set (predictor 1/1)"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_the_stage_and_its_reason_are_named(break_it: Callable[[list[Document]], None], line: str) -> None:
    documents = chain()
    break_it(documents)
    state = state_of(documents)

    assert not state.ready
    assert state.waiting_for() == line
    assert state.lines()[0] == "graph resnet50: ready (router 1/1)"
    assert state.lines()[1] == "stage 0 resnet50-s0: ready (transformer 1/1, predictor 1/1)"


def test_a_missing_runtime_is_reported_for_every_stage() -> None:
    documents = chain()
    no_runtime(documents)

    lines = state_of(documents).lines()
    assert all("there is no ServingRuntime 'resnet50' for it in its namespace" in line for line in lines[1:])


def test_the_condition_ready_leaves_the_transformer_out() -> None:
    """An InferenceService is Ready while its transformer is not."""
    documents = chain()
    away(documents, "resnet50-s0-transformer")
    set_condition(find(documents, "InferenceService", "resnet50-s0"), "TransformerReady", "False")

    state = state_of(documents)
    assert not state.serves
    assert state.waiting_for() == ("stage 0 resnet50-s0: transformer 0/1: kserve-container is running, not ready yet")


def test_a_transformer_that_is_not_ready_by_its_condition_alone() -> None:
    documents = chain()
    set_condition(find(documents, "InferenceService", "resnet50-s0"), "TransformerReady", "Unknown", "Deploying")

    assert "TransformerReady is Unknown: Deploying" in state_of(documents).waiting_for()


def test_a_graph_is_ready_while_its_router_crashes() -> None:
    documents = chain()
    pod = away(documents, "resnet50")
    pod["status"]["containerStatuses"][0]["state"] = {"waiting": {"reason": "ErrImagePull", "message": "not found"}}

    state = state_of(documents)
    assert not state.serves
    assert state.waiting_for() == "graph resnet50: router 0/1: kserve-container ErrImagePull: not found"


def test_the_router_still_serves_the_previous_graph() -> None:
    documents = chain()
    steps = find(documents, "InferenceGraph", "resnet50")["spec"]["nodes"]["root"]["steps"]
    steps.pop()

    state = state_of(documents)
    assert not state.ready
    assert state.waiting_for() == "graph resnet50: the router still serves the previous graph (router 1/1)"


def test_a_graph_that_its_controller_has_not_seen() -> None:
    documents = chain()
    del find(documents, "InferenceGraph", "resnet50")["status"]
    documents.remove(find(documents, "Deployment", "resnet50"))

    assert state_of(documents).lines()[0] == "graph resnet50: Ready is not yet set (router 0/1)"


def test_one_of_two_replicas_away_serves_but_is_not_ready() -> None:
    documents = chain(replicas=2)
    away(documents, "resnet50-s1-predictor", available=1)
    set_condition(find(documents, "InferenceService", "resnet50-s1"), "PredictorReady", "False")

    state = state_of(documents)
    assert state.serves
    assert not state.ready
    assert state.waiting_for().startswith("stage 1 resnet50-s1: predictor 1/2: kserve-container is running")


def test_the_newest_pod_gives_the_reason() -> None:
    documents = chain()
    crashing(documents)
    newer = kserve.pod("newer", find(documents, "Pod", "resnet50-s1-predictor-0")["metadata"]["labels"])
    newer["metadata"]["creationTimestamp"] = "2026-11-21T13:00:00Z"
    newer["status"] = {"phase": "Pending", "conditions": [kserve.condition("PodScheduled", "False", "Unschedulable")]}

    assert state_of([*documents, newer]).waiting_for() == f"{PREDICTOR}Unschedulable"


def test_one_service_without_a_graph() -> None:
    documents = [*kserve.stage("resnet50", transformer=True), kserve.runtime()]
    state = state_of(documents)

    assert state.ready
    assert state.lines() == ["stage 0 resnet50: ready (transformer 1/1, predictor 1/1)"]


def test_unreadable_documents_leave_the_conditions_to_decide() -> None:
    documents = chain()
    found = facts(documents)
    bare = Facts(graph=found.graph, services=found.services, deployments=None, pods=(), runtimes=None)

    assert judge("resnet50", kserve.NAMESPACE, bare).ready
    set_condition(find(documents, "InferenceService", "resnet50-s1"), "PredictorReady", "False", "Loading")
    state = judge("resnet50", kserve.NAMESPACE, bare)
    assert not state.serves
    assert state.waiting_for() == f"{STAGE}PredictorReady is False: Loading (predictor 0/0)"


def test_knative_names_deployments_itself() -> None:
    documents = [document for document in chain() if document["kind"] != "Deployment"]
    for kind, name in (("InferenceGraph", "resnet50"), *(("InferenceService", f"resnet50-s{i}") for i in (0, 1))):
        document = find(documents, kind, name)
        document["metadata"]["annotations"]["serving.kserve.io/deploymentMode"] = "Knative"
        document["status"]["deploymentMode"] = "Knative"

    assert state_of(documents).ready


def test_a_pod_that_ends_is_no_problem_of_the_newer_one() -> None:
    documents = chain()
    going = kserve.pod("old", find(documents, "Pod", "resnet50-s1-predictor-0")["metadata"]["labels"])
    going["metadata"]["deletionTimestamp"] = "2026-11-21T12:30:00Z"
    set_condition(going, "Ready", "False")

    assert state_of([*documents, going]).ready
