"""Why pods are not ready, from what Kubernetes says of them. Documents in, one line out; "" where nothing is wrong."""

from collections.abc import Iterator, Sequence
from typing import Any

from shardline.client.refusals import one_line

Document = dict[str, Any]

_STARTING = ("ContainerCreating", "PodInitializing")


def rollout_problem(deployment: Document) -> str:
    """What `kubectl rollout status` would still wait for, or why it would wait in vain."""
    status = deployment.get("status") or {}
    wanted = wanted_replicas(deployment)
    updated, available = status.get("updatedReplicas", 0), status.get("availableReplicas", 0)
    failure = condition(deployment, "ReplicaFailure")
    if status.get("observedGeneration", 0) < deployment["metadata"].get("generation", 0):
        return "its latest change is not yet rolled out"
    if failure.get("status") == "True":
        return f"no pod may be made: {one_line(failure.get('message', ''), 300)}"
    if wanted == 0:
        return "it is scaled to 0 replicas"
    if updated < wanted:
        return f"{updated} of {wanted} pods are up to date"
    if status.get("replicas", 0) > updated:
        return f"{status['replicas'] - updated} pods of before still run"
    return f"{available} of {wanted} pods are available" if available < wanted else ""


def pods_problem(pods: Sequence[Document]) -> str:
    """Of the newest pod that is not ready, since that one runs what was applied last."""
    alive = [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]
    newest_first = sorted(alive, key=lambda pod: str(pod["metadata"].get("creationTimestamp", "")), reverse=True)
    return next((problem for problem in map(pod_problem, newest_first) if problem), "")


def pod_problem(pod: Document) -> str:
    """Why one pod is not ready."""
    status = pod.get("status") or {}
    if is_ready(pod):
        return ""
    if status.get("phase") == "Failed" and not status.get("containerStatuses"):
        return _said(status.get("reason", "Failed"), status.get("message"))
    scheduled = condition(pod, "PodScheduled")
    if scheduled.get("status") == "False":
        return _said(scheduled.get("reason", "Unschedulable"), scheduled.get("message"))
    problems = list(_container_problems(status))
    # what has failed says more than what still starts
    return next((text for failed, text in problems if failed), "") or next((text for _, text in problems), "starting")


def is_ready(pod: Document) -> bool:
    return condition(pod, "Ready").get("status") == "True" and "deletionTimestamp" not in pod["metadata"]


def condition(document: Document, type_: str) -> Document:
    """The condition of this type, {} if there is none."""
    found = (document.get("status") or {}).get("conditions") or []
    return next((dict(one) for one in found if one.get("type") == type_), {})


def wanted_replicas(deployment: Document) -> int:
    replicas = deployment["spec"].get("replicas")
    return 1 if replicas is None else int(replicas)


def last_words(message: str) -> str:
    """Of what a process wrote before it ended: its error line, else its last."""
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("error: ")]
    return one_line((errors or lines or [""])[-1], 400)


def _container_problems(status: Document) -> Iterator[tuple[bool, str]]:
    """(failed, not merely starting; in words), init containers first, as they run."""
    for one in status.get("initContainerStatuses") or []:
        if not one.get("ready"):
            yield _container_problem(one, running="is running")
    for one in status.get("containerStatuses") or []:
        if not one.get("ready"):
            yield _container_problem(one, running="is running, not ready yet")


def _container_problem(container: Document, *, running: str) -> tuple[bool, str]:
    name, state = container["name"], container.get("state") or {}
    ended = state.get("terminated") or (container.get("lastState") or {}).get("terminated")
    waiting = state.get("waiting") or {}
    reason = waiting.get("reason", "")
    if ended and (ended.get("exitCode") or container.get("restartCount")):
        return True, f"{name} {_ending(ended, container, reason)}"
    if reason and reason not in _STARTING:
        return True, _said(f"{name} {reason}", waiting.get("message"))
    return False, f"{name} {running}" if "running" in state else f"{name} is starting"


def _said(reason: str, message: str | None) -> str:
    return one_line(f"{reason}: {message}" if message else reason)


def _ending(ended: Document, container: Document, reason: str) -> str:
    restarts = container.get("restartCount", 0)
    how = [reason, ended.get("reason") if ended.get("reason") not in ("Error", "Completed") else ""]
    counts = f"exit {ended.get('exitCode', 0)}" + (f", {restarts} restart{'s' * (restarts != 1)}" if restarts else "")
    words = last_words(ended.get("message") or "") or "it left no message: see kubectl logs --previous"
    return f"{' '.join(one for one in how if one) or 'ended'} ({counts}): {words}"
