"""One revision takes over a chain, so that no request meets two versions.

    check     the API server and KServe's webhooks see every document, and keep nothing
    apply     the new stages, under names of their own, beside the old ones
    wait      until all of them are ready
    prove     the golden picture goes through the new stages, one after the other
    switch    one update of the InferenceGraph: KServe starts a router for the new stages, then stops the old one
    prove     the golden picture goes through the router
    clear     the old stages go, once no router is left that knows them

Whatever goes wrong before the switch leaves the old version answering, untouched.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from shardline.client.cluster import Cluster
from shardline.client.diagnosis import is_ready, pods_problem
from shardline.client.graphs import services_of
from shardline.client.labels import GRAPH_LABEL, MANAGED_LABEL, PART_OF_LABEL, Document
from shardline.client.pictures import RequestBody
from shardline.client.port_forward import PortForward
from shardline.client.readiness import stages_of
from shardline.client.target import Target
from shardline.client.waiting import wait_until
from shardline.releases.golden import ReplyAgreement, compare
from shardline.releases.history import (
    DEPLOYED,
    GoldenRequest,
    Kind,
    Release,
    check_newest,
    forget_oldest,
    kinds_in,
    read_history,
    read_records,
    record,
)
from shardline.wire.errors import ClusterDownError, ClusterError, ShardlineError, SupersededError

Say = Callable[[str], None]


def roll_out(
    cluster: Cluster, release: Release, *, undo_command: str, timeout_s: float, say: Say
) -> ReplyAgreement | None:
    """Replace the revision that serves requests by `release`; returns the agreement of its golden reply.

    Args:
        undo_command: command that undoes an unfinished rollout, for error messages.
        timeout_s: seconds that the new stages, and then the new router, have to get ready.
        say: called with a short line before every step.

    Raises:
        ClusterError: the cluster refuses a document, a pod does not get ready in time, or a reply is wrong.
    """
    with _failing(release, "nothing was applied", say):
        say("checking every document with the cluster")
        _check(cluster, release)
        release = record(cluster, release)
    with _failing(release, f"the graph was not changed; {undo_command} deletes the new stages", say):
        forget_oldest(cluster, release.name, release.namespace)
        _prepare(cluster, release, timeout_s=timeout_s, say=say)
    with _failing(release, f"requests may reach it already; to undo it: {undo_command}", say):
        agreement = _switch(cluster, release, timeout_s=timeout_s, say=say)
        record(cluster, replace(release, phase=DEPLOYED))
        say("deleting the objects of previous revisions")
        _clear_older(cluster, release)
    return agreement


def clear(cluster: Cluster, name: str, namespace: str, kinds: Iterable[Kind], *, keep: Iterable[Document] = ()) -> int:
    """Delete every object of the chain that is not among `keep`; returns their number.

    The graph is deleted first, so that its router does not call stages that are gone. Kinds whose CRD was uninstalled
    are skipped.
    """
    kept = {(document["kind"], document["metadata"]["name"]) for document in keep}
    deleted = 0
    for api_version, kind in sorted(kinds, key=lambda pair: (pair[1] != "InferenceGraph", pair)):
        if not cluster.has(kind, api_version=api_version):
            continue
        for found in cluster.select(kind, namespace, labels=f"{PART_OF_LABEL}={name}", api_version=api_version):
            if (kind, found["metadata"]["name"]) not in kept:
                deleted += cluster.delete(kind, namespace, found["metadata"]["name"], api_version=api_version)
    return deleted


@contextmanager
def _failing(release: Release, left: str, say: Say) -> Iterator[None]:
    """Add the revision and what is `left` of it to errors; a superseded rollout leaves that to its successor."""
    revision = f"revision {release.revision} of {release.name}"
    try:
        yield
    except SupersededError:
        raise
    except ClusterError as exc:
        exc.args = (f"{revision}: {exc}; {left}",)
        raise
    except KeyboardInterrupt:
        say(f"{revision}: stopped; {left}")
        raise


def check_ownership(cluster: Cluster, name: str, namespace: str) -> None:
    """Refuse to replace an InferenceGraph that somebody else made.

    Raises:
        ClusterError: the graph of that name is not Shardline's.
    """
    graph = cluster.get("InferenceGraph", namespace, name)
    if graph is not None and (graph["metadata"].get("labels") or {}).get(MANAGED_LABEL) != "shardline":
        raise ClusterError(
            f"the InferenceGraph {name} in namespace {namespace} is not Shardline's: "
            "choose another --name, or delete it"
        )


def _check(cluster: Cluster, release: Release) -> None:
    check_ownership(cluster, release.name, release.namespace)
    for document in release.documents:
        cluster.apply(document, force=True, dry_run=True)


def _prepare(cluster: Cluster, release: Release, *, timeout_s: float, say: Say) -> None:
    """Apply the new stages beside the current ones, wait for them and check their golden reply."""
    say(f"applying revision {release.revision}")
    for document in release.documents:
        if document is not release.graph:
            cluster.apply(document, force=True)
    _wait(lambda: _stages_problem(cluster, release), "the stages", timeout_s=timeout_s, say=say)
    if release.golden is not None:
        say("sending the golden picture through the new stages")
        _prove_stages(cluster, release, release.golden)


def _switch(cluster: Cluster, release: Release, *, timeout_s: float, say: Say) -> ReplyAgreement | None:
    """Point the graph at the new stages, wait for its router and check the golden reply."""
    check_newest(cluster, release)
    say("switching the graph")
    cluster.apply(release.graph, force=True)
    _wait(lambda: _router_problem(cluster, release), "the router", timeout_s=timeout_s, say=say)
    if release.golden is None:
        return None
    say("sending the golden picture through the chain")
    return _prove(cluster, release, release.golden, [(release.name, release.name, "")])


def _clear_older(cluster: Cluster, release: Release) -> None:
    """Delete the objects of previous revisions; those of a later one, which may have begun meanwhile, stay."""
    records = read_records(cluster, release.name, release.namespace)
    history = read_history(cluster, release.name, release.namespace)
    keep = [document for kept in history if kept.revision >= release.revision for document in kept.documents]
    clear(cluster, release.name, release.namespace, kinds_in(records), keep=keep)


def _stages_problem(cluster: Cluster, release: Release) -> str:
    check_newest(cluster, release)
    return next((str(stage) for stage in stages_of(cluster, release.graph) if not stage.ready), "")


def _router_problem(cluster: Cluster, release: Release) -> str:
    """Explain why requests do not reach the release's services only; empty if they do.

    KServe replaces the router's pods, and an old one serves requests for 30 s after SIGTERM.
    """
    check_newest(cluster, release)
    services = services_of(release.graph)
    pods = cluster.select("Pod", release.namespace, labels=f"{GRAPH_LABEL}={release.name}")
    new = [pod for pod in pods if _knows(pod, services)]
    old = [pod for pod in pods if pod not in new and not _has_ended(pod)]
    if not any(is_ready(pod) for pod in new):
        return pods_problem(new) or "no new pod is ready"
    if not old:
        return ""
    count = "1 pod of the previous revision is" if len(old) == 1 else f"{len(old)} pods of the previous revision are"
    return f"{count} still running"


def _has_ended(pod: Document) -> bool:
    """True for a pod that ended, e.g. by eviction, and is only kept for inspection."""
    return (pod.get("status") or {}).get("phase") in ("Failed", "Succeeded")


def _knows(pod: Document, services: Sequence[str]) -> bool:
    """True if a router's pod serves the graph of these services, which KServe passes after --graph-json."""
    arguments = [word for container in pod["spec"]["containers"] for word in container.get("args") or []]
    return all(any(f'"{service}"' in word for word in arguments) for service in services)


def _prove_stages(cluster: Cluster, release: Release, golden: GoldenRequest) -> None:
    """Send the golden picture through the stages' own Services in order, as the router would."""
    hops = []
    for service in services_of(release.graph):
        document = cluster.get("InferenceService", release.namespace, service) or {"spec": {}}
        component = "transformer" if "transformer" in document["spec"] else "predictor"
        hops.append((service, f"{service}-{component}", f"/v1/models/{service}:predict"))
    _prove(cluster, release, golden, hops)


def _prove(
    cluster: Cluster, release: Release, golden: GoldenRequest, hops: Sequence[tuple[str, str, str]]
) -> ReplyAgreement:
    """Send the golden picture through hops (name, Kubernetes Service, path) and compare the last reply.

    Raises:
        ClusterError: a hop refuses it, or the reply differs.
    """
    body = golden.picture
    for who, service, path in hops:
        try:
            with PortForward(cluster, release.namespace, service) as forward:
                request = RequestBody(data=body, content_type="application/octet-stream")
                body = Target(f"{forward.url}{path}").exchange(request)
        except ShardlineError as exc:
            raise ClusterError(f"{who} does not reply to the golden picture: {exc}") from exc
    try:
        reply = json.loads(body)
    except ValueError as exc:
        raise ClusterError(f"{who} replies to the golden picture with {body[:80]!r}, which is not JSON") from exc
    return compare(reply, golden.reply, golden.tolerance)


def _wait(problem: Callable[[], str], what: str, *, timeout_s: float, say: Say) -> None:
    """Wait until `problem` returns "", and say each new one. An API server that is down for a while is asked again.

    Raises:
        ClusterError: after `timeout_s`, with the last problem.
    """
    last = ""

    def solved() -> bool:
        nonlocal last
        try:
            found = problem()
        except ClusterDownError as exc:
            found = str(exc)
        if found and found != last:
            say(f"waiting for {what}: {found}")
        last = found
        return not found

    try:
        wait_until(solved, timeout_s, interval_s=0.2, growth=1.5)
    except TimeoutError as exc:
        raise ClusterError(f"{what} did not get ready within {timeout_s:g} s: {last}") from exc
