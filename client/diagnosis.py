"""Reasons why pods and Deployments are not ready, read from their documents as one line; "" where nothing is wrong."""

from collections.abc import Iterator, Sequence

from shardline.client.labels import Document
from shardline.client.remedies import one_line

_STARTING = ("ContainerCreating", "PodInitializing")


def rollout_problem(deployment: Document) -> str:
    """Reason why a rollout is not complete, as `kubectl rollout status` would wait for it, or why it never will be."""
    status = deployment.get("status") or {}
    wanted = wanted_replicas(deployment)
    updated, available = status.get("updatedReplicas", 0), status.get("availableReplicas", 0)
    failure = condition(deployment, "ReplicaFailure")
    if status.get("observedGeneration", 0) < deployment["metadata"].get("generation", 0):
        return "its latest change is not yet rolled out"
    if failure.get("status") == "True":
        return f"no pod can be created: {one_line(failure.get('message', ''), 300)}"
    if wanted == 0:
        return "it is scaled to 0 replicas"
    if updated < wanted:
        return f"{updated} of {wanted} pods are up to date"
    if status.get("replicas", 0) > updated:
        old = status["replicas"] - updated
        return f"{old} pod{'s' * (old != 1)} of the previous revision {'is' if old == 1 else 'are'} still running"
    return f"{available} of {wanted} pods are available" if available < wanted else ""


def pods_problem(pods: Sequence[Document]) -> str:
    """Problem of the newest pod that is not ready: that one runs the latest revision."""
    alive = [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]
    newest_first = sorted(alive, key=lambda pod: str(pod["metadata"].get("creationTimestamp", "")), reverse=True)
    return next((problem for problem in map(pod_problem, newest_first) if problem), "")


def pod_problem(pod: Document) -> str:
    """Reason why one pod is not ready."""
    status = pod.get("status") or {}
    if is_ready(pod):
        return ""
    if status.get("phase") == "Failed" and not status.get("containerStatuses"):
        return _reason(status.get("reason", "Failed"), status.get("message"))
    scheduled = condition(pod, "PodScheduled")
    if scheduled.get("status") == "False":
        return _reason(scheduled.get("reason", "Unschedulable"), scheduled.get("message"))
    problems = list(_container_problems(status))
    # a container that failed says more than one that still starts
    return next((text for failed, text in problems if failed), "") or next((text for _, text in problems), "starting")


def is_ready(pod: Document) -> bool:
    """Tell whether a pod is ready and not being deleted."""
    return condition(pod, "Ready").get("status") == "True" and "deletionTimestamp" not in pod["metadata"]


def condition(document: Document, type_: str) -> Document:
    """The condition of this type; {} if there is none."""
    conditions = (document.get("status") or {}).get("conditions") or []
    return next((dict(found) for found in conditions if found.get("type") == type_), {})


def wanted_replicas(deployment: Document) -> int:
    """Number of replicas that a Deployment should have; Kubernetes' default is 1."""
    replicas = deployment["spec"].get("replicas")
    return 1 if replicas is None else int(replicas)


def error_line(message: str) -> str:
    """The error line of a process that ended, else the last line that it wrote."""
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("error: ")]
    return one_line((errors or lines or [""])[-1], 400)


def _container_problems(status: Document) -> Iterator[tuple[bool, str]]:
    """Problems of the containers that are not ready, each with whether it has failed; init containers first."""
    for container in status.get("initContainerStatuses") or []:
        if not container.get("ready"):
            yield _container_problem(container, running="is running")
    for container in status.get("containerStatuses") or []:
        if not container.get("ready"):
            yield _container_problem(container, running="is running, not ready yet")


def _container_problem(container: Document, *, running: str) -> tuple[bool, str]:
    name, state = container["name"], container.get("state") or {}
    ended = state.get("terminated") or (container.get("lastState") or {}).get("terminated")
    waiting = state.get("waiting") or {}
    reason = waiting.get("reason", "")
    if ended and (ended.get("exitCode") or container.get("restartCount")):
        return True, f"{name} {_termination(ended, container, reason)}"
    if reason and reason not in _STARTING:
        return True, _reason(f"{name} {reason}", waiting.get("message"))
    return False, f"{name} {running}" if "running" in state else f"{name} is starting"


def _reason(reason: str, message: str | None) -> str:
    return one_line(f"{reason}: {message}" if message else reason)


def _termination(ended: Document, container: Document, reason: str) -> str:
    restarts = container.get("restartCount", 0)
    reasons = [reason, ended.get("reason") if ended.get("reason") not in ("Error", "Completed") else ""]
    counts = f"exit {ended.get('exitCode', 0)}" + (f", {restarts} restart{'s' * (restarts != 1)}" if restarts else "")
    message = error_line(ended.get("message") or "") or "it left no message: see kubectl logs --previous"
    return f"{' '.join(filter(None, reasons)) or 'ended'} ({counts}): {message}"
