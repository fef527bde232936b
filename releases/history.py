"""What was deployed under a name, revision by revision: one ConfigMap each, in the chain's own namespace.

A revision holds every document as it was applied, so that a rollback needs neither the bundle's folder nor the options
of that day. The ConfigMap is written before anything is applied and its phase changed last: what was begun and not
finished can be seen, and taken back.
"""

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from client.cluster import Cluster
from manifests.names import Document
from wire.errors import ClusterError

KEPT = 10  # revisions; older ones are forgotten
PENDING, DEPLOYED = "pending", "deployed"

RELEASE_LABEL = "shardline/release"
PHASE_LABEL = "shardline/phase"
_MANAGED = {"app.kubernetes.io/managed-by": "shardline"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Golden:
    """A picture's file and the whole model's v1 reply to it."""

    picture: bytes
    reply: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """One revision of a chain. `bundle` is the bundle's digest, `storage` where it was pushed, `created` ISO 8601."""

    name: str
    namespace: str
    revision: int
    bundle: str
    storage: str
    documents: Sequence[Document]
    golden: Golden | None
    phase: str = PENDING
    created: str = ""

    @property
    def graph(self) -> Document:
        """
        Raises:
            ClusterError: the revision has none.
        """
        for document in self.documents:
            if document["kind"] == "InferenceGraph":
                return document
        raise ClusterError(f"revision {self.revision} of {self.name} has no InferenceGraph to switch over")

    def as_revision(self, revision: int) -> "Release":
        """The same to be deployed again."""
        return replace(self, revision=revision, phase=PENDING, created="")


def read_history(cluster: Cluster, name: str, namespace: str) -> list[Release]:
    """Every revision that is kept, the oldest first.

    Raises:
        ClusterError: the cluster refuses, or a record was altered by hand.
    """
    records = cluster.select("ConfigMap", namespace, labels=f"{RELEASE_LABEL}={name}")
    return sorted((_parse(record) for record in records), key=lambda release: release.revision)


def read_names(cluster: Cluster, namespace: str) -> list[str]:
    """The names that have revisions in a namespace."""
    records = cluster.select("ConfigMap", namespace, labels=RELEASE_LABEL)
    return sorted({record["metadata"]["labels"][RELEASE_LABEL] for record in records})


def record(cluster: Cluster, release: Release) -> Release:
    """Write a revision, new or again; gives it back with its time."""
    written = replace(release, created=release.created or datetime.now(UTC).isoformat(timespec="seconds"))
    cluster.apply(_to_document(written), force=True)
    return written


def forget(cluster: Cluster, release: Release) -> None:
    cluster.delete("ConfigMap", release.namespace, _record_name(release))


def _record_name(release: Release) -> str:
    return f"{release.name}.shardline.v{release.revision}"


def _to_document(release: Release) -> Document:
    golden = release.golden
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": _record_name(release),
            "namespace": release.namespace,
            "labels": _MANAGED | {RELEASE_LABEL: release.name, PHASE_LABEL: release.phase},
        },
        "data": {
            "revision": str(release.revision),
            "bundle": release.bundle,
            "storage": release.storage,
            "created": release.created,
            "documents.json": json.dumps(release.documents),
            **({} if golden is None else {"golden.json": json.dumps(golden.reply)}),
        },
        "binaryData": {} if golden is None else {"golden.png": base64.b64encode(golden.picture).decode()},
    }


def _parse(record: Document) -> Release:
    metadata, data = record["metadata"], record.get("data") or {}
    try:
        picture = (record.get("binaryData") or {}).get("golden.png")
        reply = data.get("golden.json")
        return Release(
            name=metadata["labels"][RELEASE_LABEL],
            namespace=metadata["namespace"],
            revision=int(data["revision"]),
            phase=metadata["labels"][PHASE_LABEL],
            bundle=data["bundle"],
            storage=data["storage"],
            created=data["created"],
            documents=json.loads(data["documents.json"]),
            golden=Golden(picture=base64.b64decode(picture), reply=json.loads(reply)) if picture and reply else None,
        )
    except (KeyError, ValueError, binascii.Error) as exc:
        raise ClusterError(
            f"ConfigMap {metadata['name']} in {metadata['namespace']} is no record of a revision any more ({exc!r}): "
            "delete it; the revision cannot be rolled back to"
        ) from exc
