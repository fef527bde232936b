"""Deploy, roll back and remove a chain on a cluster."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from shardline.client.cluster import Cluster
from shardline.manifests.lint import check
from shardline.manifests.options import RenderOptions
from shardline.manifests.render import render
from shardline.releases.golden import ReplyAgreement, score_tolerance
from shardline.releases.history import DEPLOYED, PENDING, GoldenRequest, Release, kinds_in, read_history, read_records
from shardline.releases.rollout import Say, clear, roll_out
from shardline.storage.bundle import GOLDEN_PICTURE_FILE, GOLDEN_REPLY_FILE, GOLDEN_REQUEST_FILE, Bundle
from shardline.wire.errors import ClusterError


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployed:
    """A revision that serves requests; `agreement` is None if its bundle has no golden picture."""

    release: Release
    agreement: ReplyAgreement | None


def deploy(
    cluster: Cluster, bundle: Bundle, folder: Path, options: RenderOptions, *, timeout_s: float, say: Say
) -> Deployed:
    """Deploy the bundle at `folder`, which was pushed to `options.storage`, as the next revision of its name.

    Raises:
        ManifestError: the documents break a rule of KServe's.
        ClusterError: the cluster refuses a document, or the chain does not get ready. Unless the message says
            otherwise, the previous revision still serves requests.
    """
    rendered = render(bundle, replace(options, versioned=True))
    check(rendered)
    name = options.name or bundle.name
    history = read_history(cluster, name, options.namespace)
    release = Release(
        name=name,
        namespace=options.namespace,
        revision=_next_revision(history),
        bundle=bundle.digest,
        storage=options.storage,
        documents=rendered,
        golden=_golden(folder, bundle),
    )
    return _roll_out(cluster, release, history, timeout_s=timeout_s, say=say)


def make_namespace(cluster: Cluster, namespace: str) -> None:
    """Create a namespace; an existing one is left unchanged.

    Raises:
        ClusterError: the cluster refuses.
    """
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})


def rollback(
    cluster: Cluster, name: str, namespace: str, revision: int | None, *, timeout_s: float, say: Say
) -> Deployed:
    """Deploy an earlier revision again, as a new one: `revision`, or the last that was deployed before the newest.

    Raises:
        ClusterError: there is no such revision; see also `deploy`.
    """
    history = read_history(cluster, name, namespace)
    target = _target(history, name, namespace, revision)
    say(f"rolling back to revision {target.revision}, bundle {target.bundle}")
    again = replace(target, revision=_next_revision(history), phase=PENDING, created="")
    return _roll_out(cluster, again, history, timeout_s=timeout_s, say=say)


def undeploy(cluster: Cluster, name: str, namespace: str) -> int:
    """Delete every object of the chain and then its history; returns the number of objects.

    The bucket is left unchanged. Records that were altered by hand are deleted, too.

    Raises:
        ClusterError: nothing has that name, or the cluster refuses.
    """
    records = read_records(cluster, name, namespace)
    if not records:
        raise _nothing(name, namespace)
    deleted = clear(cluster, name, namespace, kinds_in(records))
    for found in records:
        cluster.delete("ConfigMap", namespace, found["metadata"]["name"])
    return deleted


def _roll_out(
    cluster: Cluster, release: Release, history: Sequence[Release], *, timeout_s: float, say: Say
) -> Deployed:
    command = "rollback" if any(earlier.phase == DEPLOYED for earlier in history) else "undeploy"
    undo_command = f"shardline {command} {release.name} --namespace {release.namespace}"
    agreement = roll_out(cluster, release, undo_command=undo_command, timeout_s=timeout_s, say=say)
    return Deployed(release=release, agreement=agreement)


def _next_revision(history: Sequence[Release]) -> int:
    return history[-1].revision + 1 if history else 1


def _target(history: Sequence[Release], name: str, namespace: str, revision: int | None) -> Release:
    if not history:
        raise _nothing(name, namespace)
    if revision is None:
        earlier = [past for past in history[:-1] if past.phase == DEPLOYED]
        if not earlier:
            raise ClusterError(f"{name} in namespace {namespace} has no earlier deployed revision to roll back to")
        return earlier[-1]
    for release in history:
        if release.revision == revision:
            return release
    kept = ", ".join(str(release.revision) for release in history)
    raise ClusterError(f"{name} in namespace {namespace} has no revision {revision}: choose one of {kept}")


def _nothing(name: str, namespace: str) -> ClusterError:
    return ClusterError(
        f"nothing was deployed as {name} in namespace {namespace}: shardline status lists the chains of a namespace"
    )


def _golden(folder: Path, bundle: Bundle) -> GoldenRequest | None:
    if GOLDEN_REPLY_FILE not in bundle.files:
        return None
    request = GOLDEN_REQUEST_FILE if GOLDEN_REQUEST_FILE in bundle.files else GOLDEN_PICTURE_FILE
    return GoldenRequest(
        picture=(folder / request).read_bytes(),
        reply=json.loads((folder / GOLDEN_REPLY_FILE).read_text()),
        tolerance=score_tolerance(bundle),
    )
