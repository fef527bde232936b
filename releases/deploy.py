"""A bundle -> a chain that answers on a cluster, and the ways back."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from shardline.client.cluster import Cluster
from shardline.manifests.lint import check
from shardline.manifests.options import RenderOptions
from shardline.manifests.render import render
from shardline.releases.golden import ReplyAgreement, score_tolerance
from shardline.releases.history import DEPLOYED, GoldenRequest, Release, kinds_in, read_history, read_records
from shardline.releases.rollout import Say, clear, roll_out
from shardline.storage.bundle import GOLDEN_PICTURE_FILE, GOLDEN_REPLY_FILE, Bundle
from shardline.wire.errors import ClusterError


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployed:
    """A revision that answers; `agreement` is None where the bundle holds no golden picture."""

    release: Release
    agreement: ReplyAgreement | None


def deploy(
    cluster: Cluster, bundle: Bundle, folder: Path, options: RenderOptions, *, timeout_s: float, say: Say
) -> Deployed:
    """Deploy the bundle at `folder`, which was pushed to `options.storage`, as the next revision of its name.

    Raises:
        ManifestError: the documents break a rule of KServe's.
        ClusterError: what the cluster refuses or does not get ready; what answered before answers still.
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
    """Make it if it does not exist; one that does is left as it is.

    Raises:
        ClusterError: the cluster refuses.
    """
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})


def rollback(
    cluster: Cluster, name: str, namespace: str, revision: int | None, *, timeout_s: float, say: Say
) -> Deployed:
    """Deploy an earlier revision again, as a new one: `revision`, or the last that was deployed before the newest.

    Raises:
        ClusterError: there is no such revision, or as `deploy`.
    """
    history = read_history(cluster, name, namespace)
    target = _target(history, name, namespace, revision)
    say(f"going back to revision {target.revision}, bundle {target.bundle}")
    again = target.as_revision(_next_revision(history))
    return _roll_out(cluster, again, history, timeout_s=timeout_s, say=say)


def undeploy(cluster: Cluster, name: str, namespace: str) -> int:
    """Delete every object of the chain and then its history; gives back how many objects there were. The bucket is left
    alone. Records that were altered by hand are no obstacle.

    Raises:
        ClusterError: nothing of that name, or the cluster refuses.
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
    command = "rollback" if any(each.phase == DEPLOYED for each in history) else "undeploy"
    way_back = f"shardline {command} {release.name} --namespace {release.namespace}"
    agreement = roll_out(cluster, release, way_back=way_back, timeout_s=timeout_s, say=say)
    return Deployed(release=release, agreement=agreement)


def _next_revision(history: Sequence[Release]) -> int:
    return history[-1].revision + 1 if history else 1


def _target(history: Sequence[Release], name: str, namespace: str, revision: int | None) -> Release:
    if not history:
        raise _nothing(name, namespace)
    if revision is None:
        earlier = [each for each in history[:-1] if each.phase == DEPLOYED]
        if not earlier:
            raise ClusterError(
                f"{name} in {namespace} has no earlier revision that was deployed: nothing to go back to"
            )
        return earlier[-1]
    for release in history:
        if release.revision == revision:
            return release
    kept = ", ".join(str(each.revision) for each in history)
    raise ClusterError(f"{name} in {namespace} has no revision {revision}; allowed: {kept}")


def _nothing(name: str, namespace: str) -> ClusterError:
    return ClusterError(
        f"nothing was deployed as {name} in namespace {namespace}: shardline status lists what was, see --namespace"
    )


def _golden(folder: Path, bundle: Bundle) -> GoldenRequest | None:
    if GOLDEN_REPLY_FILE not in bundle.files:
        return None
    return GoldenRequest(
        picture=(folder / GOLDEN_PICTURE_FILE).read_bytes(),
        reply=json.loads((folder / GOLDEN_REPLY_FILE).read_text()),
        tolerance=score_tolerance(bundle),
    )
