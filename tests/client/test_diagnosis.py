"""Reasons that pods and Deployments give for not being ready; tests/client/test_readiness.py has many more."""

from typing import Any

from services import kserve_documents as kserve
from services.kserve_documents import set_condition

from shardline.client.diagnosis import error_line, is_ready, pod_problem, pods_problem, rollout_problem, wanted_replicas


def test_a_pod_that_ends_is_neither_ready_nor_a_problem() -> None:
    pod = kserve.pod("old", {})
    assert is_ready(pod)
    pod["metadata"]["deletionTimestamp"] = "2026-11-21T12:30:00Z"
    set_condition(pod, "Ready", "False")

    assert not is_ready(pod)
    assert pods_problem([pod, kserve.pod("new", {})]) == ""


def test_a_container_that_failed_goes_before_one_that_starts() -> None:
    pod = kserve.pod("p", {})
    set_condition(pod, "Ready", "False")
    failed = {"terminated": {"exitCode": 1, "message": "warning\nerror: no bundle\n"}}
    pod["status"]["containerStatuses"] = [
        {"name": "proxy", "ready": False, "state": {"waiting": {"reason": "ContainerCreating"}}},
        {"name": "model", "ready": False, "restartCount": 2, "state": failed},
    ]

    assert pod_problem(pod) == "model ended (exit 1, 2 restarts): error: no bundle"


def test_a_rollout_waits_for_pods_of_the_previous_revision() -> None:
    def deployment(replicas: int) -> dict[str, Any]:
        status = {"updatedReplicas": 1, "availableReplicas": 1, "replicas": replicas, "observedGeneration": 1}
        return {"metadata": {"generation": 1}, "spec": {}, "status": status}

    assert wanted_replicas(deployment(1)) == 1
    assert rollout_problem(deployment(1)) == ""
    assert rollout_problem(deployment(2)) == "1 pod of the previous revision is still running"
    assert rollout_problem(deployment(3)) == "2 pods of the previous revision are still running"


def test_the_error_line_of_a_process_is_its_last_if_none_begins_with_error() -> None:
    assert error_line("one\n error: two\nthree\n") == "error: two"
    assert error_line("one\n\n two \n\n") == "two"
    assert error_line("") == ""
