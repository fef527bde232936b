"""The revisions of a chain, recorded on the cluster: one ConfigMap each, in the chain's namespace.

A revision holds every document as it was applied, so that a rollback needs neither the bundle's folder nor the options
of that deploy. The ConfigMap is written before anything is applied, and its phase is changed last, so that a deploy
that did not finish can be seen and undone.
"""

import base64
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from shardline.client.cluster import API_VERSIONS, Cluster
from shardline.client.labels import Document
from shardline.releases.golden import TOLERANCE
from shardline.wire.errors import ClusterError, SupersededError

KEPT = 10  # newest revisions that are kept, and the last deployed one before them
PENDING, DEPLOYED = "pending", "deployed"

RELEASE_LABEL = "shardline/release"
PHASE_LABEL = "shardline/phase"
_MANAGED = {"app.kubernetes.io/managed-by": "shardline"}
# every kind that a chain may contain
_EVERY_KIND = (
    "HTTPRoute", "InferenceGraph", "InferenceService", "Ingress", "NetworkPolicy", "PodDisruptionBudget",
    "ServiceAccount", "ServingRuntime",
)  # fmt: skip

_DIGEST = re.compile(r"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")

Kind = tuple[str, str]  # apiVersion, kind


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenRequest:
    """Golden picture, or the v1 request with it, the whole model's v1 reply to it, and the tolerance for scores."""

    picture: bytes
    reply: Mapping[str, Any]
    tolerance: float = TOLERANCE


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """One revision of a chain, with its bundle's digest, the URI that it was pushed to and its time in ISO 8601."""

    name: str
    namespace: str
    revision: int
    bundle: str
    storage: str
    documents: Sequence[Document]
    golden: GoldenRequest | None
    phase: str = PENDING
    created: str = ""

    @property
    def graph(self) -> Document:
        """The revision's InferenceGraph.

        Raises:
            ClusterError: the revision has none.
        """
        for document in self.documents:
            if document["kind"] == "InferenceGraph":
                return document
        raise ClusterError(f"revision {self.revision} of {self.name} has no InferenceGraph: deploy the bundle again")


def read_history(cluster: Cluster, name: str, namespace: str) -> list[Release]:
    """Read every revision that is kept, the oldest first.

    Raises:
        ClusterError: the cluster refuses, or a record was altered by hand.
    """
    releases = [_parse(found) for found in read_records(cluster, name, namespace)]
    return sorted(releases, key=lambda release: release.revision)


def read_records(cluster: Cluster, name: str, namespace: str) -> list[Document]:
    """Read the ConfigMaps of the revisions, whatever they contain."""
    return cluster.select("ConfigMap", namespace, labels=f"{RELEASE_LABEL}={name}")


def kinds_in(records: Iterable[Document]) -> set[Kind]:
    """Collect the kinds of the applied documents; if a record was altered, every kind that a chain may contain."""
    try:
        return {(document["apiVersion"], document["kind"]) for found in records for document in _parse(found).documents}
    except ClusterError:
        return {(API_VERSIONS[kind], kind) for kind in _EVERY_KIND}


def recorded_digests(cluster: Cluster) -> set[str]:
    """Collect the 64 hex digits of every bundle that a revision of any chain names, in all namespaces."""
    records = cluster.select("ConfigMap", "", labels=RELEASE_LABEL)
    return {digest for record in records for digest in _DIGEST.findall(json.dumps(record.get("data")))}


def read_names(cluster: Cluster, namespace: str) -> list[str]:
    """List the names that have revisions in a namespace."""
    records = cluster.select("ConfigMap", namespace, labels=RELEASE_LABEL)
    return sorted({record["metadata"]["labels"][RELEASE_LABEL] for record in records})


def record(cluster: Cluster, release: Release) -> Release:
    """Write the record of a revision; returns the revision as it will be read, with its time."""
    created = release.created or datetime.now(UTC).isoformat(timespec="seconds")
    document = _to_document(replace(release, created=created))
    cluster.apply(document, force=True)
    return _parse(document)


def check_newest(cluster: Cluster, release: Release) -> None:
    """Check that no later deploy has begun: of two concurrent deploys only the later one continues.

    Raises:
        SupersededError: the record of `release`, as `record` returned it, is no longer the newest.
    """
    own = cluster.get("ConfigMap", release.namespace, _record_name(release.name, release.revision))
    following = release.revision + 1
    if own is None:
        raise SupersededError(f"revision {release.revision} of {release.name} was undeployed meanwhile")
    if cluster.get("ConfigMap", release.namespace, _record_name(release.name, following)) is not None:
        raise SupersededError(
            f"revision {following} of {release.name} was begun meanwhile and replaces revision {release.revision}"
        )
    if _parse(own) != release:
        raise SupersededError(
            f"another deploy began revision {release.revision} of {release.name} at the same time, and it continues"
        )


def forget_oldest(cluster: Cluster, name: str, namespace: str) -> None:
    """Delete the oldest revisions; the newest ones and the last deployed one stay."""
    history = read_history(cluster, name, namespace)
    deployed = [past.revision for past in history[:-1] if past.phase == DEPLOYED]
    for old in history[:-KEPT]:
        if old.revision not in deployed[-1:]:
            cluster.delete("ConfigMap", namespace, _record_name(name, old.revision))


def _record_name(name: str, revision: int) -> str:
    return f"{name}.shardline.v{revision}"


def _to_document(release: Release) -> Document:
    golden = release.golden
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": _record_name(release.name, release.revision),
            "namespace": release.namespace,
            "labels": _MANAGED | {RELEASE_LABEL: release.name, PHASE_LABEL: release.phase},
        },
        "data": {
            "revision": str(release.revision),
            "bundle": release.bundle,
            "storage": release.storage,
            "created": release.created,
            "documents.json": json.dumps(release.documents),
            **({} if golden is None else {"golden.json": json.dumps(golden.reply), "tolerance": str(golden.tolerance)}),
        },
        "binaryData": {} if golden is None else {"golden.png": base64.b64encode(golden.picture).decode()},
    }


def _parse(record: Document) -> Release:
    metadata, data = record["metadata"], record.get("data") or {}
    try:
        picture = (record.get("binaryData") or {}).get("golden.png")
        reply = data.get("golden.json")
        tolerance = float(data.get("tolerance", TOLERANCE))  # records of earlier versions have none
        return Release(
            name=metadata["labels"][RELEASE_LABEL],
            namespace=metadata["namespace"],
            revision=int(data["revision"]),
            phase=metadata["labels"][PHASE_LABEL],
            bundle=data["bundle"],
            storage=data["storage"],
            created=data["created"],
            documents=_parse_documents(data["documents.json"]),
            golden=_golden(picture, reply, tolerance) if picture and reply else None,
        )
    except (KeyError, TypeError, ValueError) as exc:  # base64's and JSON's own errors are ValueErrors
        raise ClusterError(
            f"ConfigMap {metadata['name']} was altered and is not the record of a revision any more ({exc!r}): "
            f"kubectl delete configmap {metadata['name']} --namespace {metadata['namespace']}, or shardline undeploy"
        ) from exc


def _golden(picture: str, reply: str, tolerance: float) -> GoldenRequest:
    return GoldenRequest(
        picture=base64.b64decode(picture),
        reply=json.loads(reply),
        tolerance=tolerance,
    )


def _parse_documents(text: str) -> list[Document]:
    """Read the documents of a record; KeyError, TypeError or ValueError for what could not be applied."""
    documents = json.loads(text)
    for document in documents:
        fields = (document["apiVersion"], document["kind"], document["metadata"]["name"])
        if not all(isinstance(field, str) for field in fields):
            raise ValueError(f"not a document: {str(document)[:80]}")
    return list(documents)
