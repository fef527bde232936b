"""Preview of a deploy: the objects that it would create, change and delete, checked by the cluster and not kept."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from shardline.client.cluster import Cluster
from shardline.client.labels import PART_OF_LABEL, Document
from shardline.releases.history import kinds_in, read_history, read_records
from shardline.releases.rollout import check_ownership
from shardline.wire.errors import ClusterDownError, ClusterError

Action = Literal["create", "change", "keep", "delete", "refused"]

_SERVER_FIELDS = ("managedFields", "resourceVersion", "uid", "generation", "creationTimestamp")  # of metadata
_LONGEST = 80  # characters of a value


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedObject:
    """One object of a deploy; `details` are the changed fields, or the reason why the cluster refuses the object."""

    action: Action
    kind: str
    name: str
    details: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DeployPreview:
    """Everything that a deploy would do to the objects of a chain, as the revision of that number."""

    revision: int
    objects: tuple[PlannedObject, ...]

    @property
    def refused(self) -> bool:
        """True if the cluster refuses an object, so that the deploy would stop before it changes anything."""
        return any(planned.action == "refused" for planned in self.objects)


def preview_deploy(
    cluster: Cluster, name: str, namespace: str, documents: Sequence[Document], *, create_namespace: bool = False
) -> DeployPreview:
    """Ask the API server for a dry run of every document, webhooks included, and compare with what it has.

    In a namespace that is yet to be created the server cannot check anything: all objects are planned to be created.

    Raises:
        ClusterDownError: the cluster does not answer.
        ClusterError: it may not be read, there is no such namespace and it is not to be created, or an InferenceGraph
            of that name is not Shardline's.
    """
    if _is_missing(cluster, namespace):
        if not create_namespace:
            raise ClusterError(f"there is no namespace {namespace}: give --create-namespace, or another --namespace")
        created = [_planned("create", document) for document in documents]
        new = PlannedObject(action="create", kind="Namespace", name=namespace)
        return DeployPreview(revision=1, objects=(new, *created))
    check_ownership(cluster, name, namespace)
    history = read_history(cluster, name, namespace)
    planned = [_preview(cluster, namespace, document) for document in documents]
    planned += _deleted(cluster, name, namespace, documents)
    return DeployPreview(revision=history[-1].revision + 1 if history else 1, objects=tuple(planned))


def _is_missing(cluster: Cluster, namespace: str) -> bool:
    try:
        return cluster.get("Namespace", "", namespace) is None
    except ClusterDownError:
        raise
    except ClusterError:  # an account that may work in its namespace and not read it
        return False


def _preview(cluster: Cluster, namespace: str, document: Document) -> PlannedObject:
    kind, name, version = document["kind"], document["metadata"]["name"], document["apiVersion"]
    try:
        current = cluster.get(kind, namespace, name, api_version=version)
        applied = cluster.apply(document, force=True, dry_run=True)
    except ClusterDownError:
        raise
    except ClusterError as exc:
        return _planned("refused", document, str(exc))
    if current is None:
        return _planned("create", document)
    changes = tuple(_changes(_own(current), _own(applied)))
    return _planned("change" if changes else "keep", document, *changes)


def _planned(action: Action, document: Document, *details: str) -> PlannedObject:
    return PlannedObject(action=action, kind=document["kind"], name=document["metadata"]["name"], details=details)


def _deleted(cluster: Cluster, name: str, namespace: str, documents: Sequence[Document]) -> Iterator[PlannedObject]:
    """Yield the objects of previous revisions, which a deploy deletes once the new one serves requests."""
    kept = {(document["kind"], document["metadata"]["name"]) for document in documents}
    for api_version, kind in sorted(kinds_in(read_records(cluster, name, namespace))):
        if cluster.has(kind, api_version=api_version):
            for found in cluster.select(kind, namespace, labels=f"{PART_OF_LABEL}={name}", api_version=api_version):
                if (kind, found["metadata"]["name"]) not in kept:
                    yield _planned("delete", found)


def _own(document: Document) -> dict[str, Any]:
    """Leave out what the server itself writes."""
    metadata = {key: value for key, value in document["metadata"].items() if key not in _SERVER_FIELDS}
    return {key: value for key, value in document.items() if key != "status"} | {"metadata": metadata}


def _changes(before: object, after: object, path: str = "") -> Iterator[str]:
    """Yield a line for each field that differs: its path, the old and the new value."""
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for key in [*before, *(key for key in after if key not in before)]:
            yield from _changes(before.get(key), after.get(key), f"{path}.{key}" if path else str(key))
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for index, (old, new) in enumerate(zip(before, after, strict=True)):
            yield from _changes(old, new, f"{path}[{index}]")
    elif before != after:
        yield f"{path}: {_short(before)} -> {_short(after)}"


def _short(value: object) -> str:
    text = "none" if value is None else json.dumps(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
