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
import time
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
from shardline.releases.golden import ReplyAgreement, compare
from shardline.releases.history import (
    DEPLOYED,
    GoldenRequest,
    Kind,
    Release,
    SupersededError,
    check_newest,
    forget_oldest,
    kinds_in,
    read_history,
    read_records,
    record,
)
from shardline.wire.errors import ClusterDownError, ClusterError, ShardlineError

Say = Callable[[str], None]


def roll_out(cluster: Cluster, release: Release, *, way_back: str, timeout_s: float, say: Say) -> ReplyAgreement | None:
    """Put `release` in place of what its name answers with now; gives back how well it replies to the golden picture.

    Args:
        way_back: the command that undoes what was begun, for errors.
        timeout_s: how long the new stages, and then the new router, may take to get ready.
        say: told each step, one short line.

    Raises:
        ClusterError: what the cluster refuses, what is not ready in time and why, or a wrong reply.
    """
    with _failing(release, "nothing was applied", say):
        say("checking every document with the cluster")
        _check(cluster, release)
        release = record(cluster, release)
    with _failing(release, f"the graph was not touched; {way_back} takes the new stages away", say):
        forget_oldest(cluster, release.name, release.namespace)
        _prepare(cluster, release, timeout_s=timeout_s, say=say)
    with _failing(release, f"requests may reach it already; to go back: {way_back}", say):
        agreement = _switch(cluster, release, timeout_s=timeout_s, say=say)
        record(cluster, replace(release, phase=DEPLOYED))
        say("removing what is not of this revision")
        _clear_older(cluster, release)
    return agreement


def clear(cluster: Cluster, name: str, namespace: str, kinds: Iterable[Kind], *, keep: Iterable[Document] = ()) -> int:
    """Delete every object of the chain that is not among `keep`; gives back how many there were.

    The graph goes first, so that its router asks nobody who is gone. Of a kind that was uninstalled nothing is left.
    """
    kept = {(each["kind"], each["metadata"]["name"]) for each in keep}
    deleted = 0
    for api_version, kind in sorted(kinds, key=lambda each: (each[1] != "InferenceGraph", each)):
        if not cluster.has(kind, api_version=api_version):
            continue
        for found in cluster.select(kind, namespace, labels=f"{PART_OF_LABEL}={name}", api_version=api_version):
            if (kind, found["metadata"]["name"]) not in kept:
                deleted += cluster.delete(kind, namespace, found["metadata"]["name"], api_version=api_version)
    return deleted


@contextmanager
def _failing(release: Release, left: str, say: Say) -> Iterator[None]:
    """Errors say which revision it is, and what is `left` of it. Who gave way to another leaves that to the other."""
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


def _check(cluster: Cluster, release: Release) -> None:
    graph = cluster.get("InferenceGraph", release.namespace, release.name)
    if graph is not None and (graph["metadata"].get("labels") or {}).get(MANAGED_LABEL) != "shardline":
        raise ClusterError(
            f"there is an InferenceGraph {release.name} in namespace {release.namespace} that is not Shardline's: "
            "choose another --name, or delete it"
        )
    for document in release.documents:
        cluster.apply(document, force=True, dry_run=True)


def _prepare(cluster: Cluster, release: Release, *, timeout_s: float, say: Say) -> None:
    """The new stages, proved, beside whatever answers now."""
    say(f"applying revision {release.revision}")
    for document in release.documents:
        if document is not release.graph:
            cluster.apply(document, force=True)
    wait_until(lambda: _stages_problem(cluster, release), "the stages", timeout_s=timeout_s, say=say)
    if release.golden is not None:
        say("asking the new stages for the golden picture")
        prove_stages(cluster, services_of(release.graph), release.namespace, release.golden)


def _switch(cluster: Cluster, release: Release, *, timeout_s: float, say: Say) -> ReplyAgreement | None:
    """The graph leads to the new stages, and nothing else does any more."""
    check_newest(cluster, release)
    say("switching the graph")
    cluster.apply(release.graph, force=True)
    wait_until(lambda: _router_problem(cluster, release), "the router", timeout_s=timeout_s, say=say)
    if release.golden is None:
        return None
    say("asking the chain for the golden picture")
    return prove_graph(cluster, release.name, release.namespace, release.golden)


def _clear_older(cluster: Cluster, release: Release) -> None:
    """What is of no revision from this one on: the next may have been begun meanwhile."""
    records = read_records(cluster, release.name, release.namespace)
    history = read_history(cluster, release.name, release.namespace)
    keep = [document for each in history if each.revision >= release.revision for document in each.documents]
    clear(cluster, release.name, release.namespace, kinds_in(records), keep=keep)


def _stages_problem(cluster: Cluster, release: Release) -> str:
    check_newest(cluster, release)
    return next((str(stage) for stage in stages_of(cluster, release.graph) if not stage.ready), "")


def _router_problem(cluster: Cluster, release: Release) -> str:
    """Why not every request goes to the release's services, and to no others. KServe replaces the router's pods; an old
    one answers for 30 s more after it was told to stop.
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
    return "1 pod of before still answers" if len(old) == 1 else f"{len(old)} pods of before still answer"


def _has_ended(pod: Document) -> bool:
    """An evicted pod stays to be looked at, and answers nobody."""
    return (pod.get("status") or {}).get("phase") in ("Failed", "Succeeded")


def _knows(pod: Document, services: Sequence[str]) -> bool:
    """KServe hands the router its chain as the argument after --graph-json."""
    arguments = [word for container in pod["spec"]["containers"] for word in container.get("args") or []]
    return all(any(f'"{service}"' in word for word in arguments) for service in services)


def prove_stages(cluster: Cluster, services: Sequence[str], namespace: str, golden: GoldenRequest) -> ReplyAgreement:
    """Take the picture through the stages' own Services one after the other, as the router would.

    Raises:
        ClusterError: a stage that refuses, or another reply.
    """
    body = golden.picture
    for service in services:
        document = cluster.get("InferenceService", namespace, service) or {"spec": {}}
        component = "transformer" if "transformer" in document["spec"] else "predictor"
        with PortForward(cluster, namespace, f"{service}-{component}") as forward:
            body = _ask(service, f"{forward.url}/v1/models/{service}:predict", body)
    return compare(_json(services[-1], body), golden.reply, golden.tolerance)


def prove_graph(cluster: Cluster, name: str, namespace: str, golden: GoldenRequest) -> ReplyAgreement:
    """Ask the router.

    Raises:
        ClusterError: it refuses, or gives another reply.
    """
    with PortForward(cluster, namespace, name) as forward:
        return compare(_json(name, _ask(name, forward.url, golden.picture)), golden.reply, golden.tolerance)


def _ask(who: str, url: str, body: bytes) -> bytes:
    try:
        return Target(url).exchange(RequestBody(data=body, content_type="application/octet-stream"))
    except ShardlineError as exc:
        raise ClusterError(f"{who} does not answer the golden picture: {exc}") from exc


def _json(who: str, body: bytes) -> object:
    try:
        return json.loads(body)
    except ValueError as exc:
        raise ClusterError(f"{who} answers the golden picture with {body[:80]!r}, which is no JSON") from exc


_FIRST_PAUSE_S = 0.2
_LONGEST_PAUSE_S = 5.0
_GROWTH = 1.5


def wait_until(missing: Callable[[], str], what: str, *, timeout_s: float, say: Callable[[str], None]) -> None:
    """Ask `missing` until it gives "", telling `say` each new answer. An API server that is away for a while is asked
    again.

    Raises:
        ClusterError: after `timeout_s`, with `what` was waited for and the last answer.
    """
    give_up_at = time.monotonic() + timeout_s
    pause_s, told = _FIRST_PAUSE_S, ""
    while answer := _missing(missing):
        if answer != told:
            told = answer
            say(f"waiting for {what}: {answer}")
        if time.monotonic() + pause_s > give_up_at:
            raise ClusterError(f"after {timeout_s:g} s, still waiting for {what}: {answer}")
        time.sleep(pause_s)
        pause_s = min(_LONGEST_PAUSE_S, pause_s * _GROWTH)


def _missing(missing: Callable[[], str]) -> str:
    try:
        return missing()
    except ClusterDownError as exc:
        return str(exc)
