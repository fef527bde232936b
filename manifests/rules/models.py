"""Validate documents against the typed models that the kserve and kubernetes packages generate from the API types.

An unknown field is one that the API server refuses (`--validate=strict`) or drops silently. The validation also returns
a cleaned copy of the document, without unknown fields, nulls and values of a wrong type, for the rules to read.
"""

import difflib
import importlib.util
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from types import SimpleNamespace
from typing import Any

from shardline.manifests.rules.rule import Finding, key
from shardline.manifests.rules.scalars import ENUMS, mistake, shown, type_of

_SERVING = "serving.kserve.io"
# kind -> apiVersion -> model
KINDS: Mapping[str, Mapping[str, str]] = {
    "InferenceService": {f"{_SERVING}/v1beta1": "V1beta1InferenceService"},
    "InferenceGraph": {f"{_SERVING}/v1alpha1": "V1alpha1InferenceGraph"},
    "ServingRuntime": {f"{_SERVING}/v1alpha1": "V1alpha1ServingRuntime"},
    "ClusterServingRuntime": {f"{_SERVING}/v1alpha1": "V1alpha1ClusterServingRuntime"},
    "ClusterStorageContainer": {f"{_SERVING}/v1alpha1": "V1alpha1ClusterStorageContainer"},
    "ConfigMap": {"v1": "V1ConfigMap"},
    "Namespace": {"v1": "V1Namespace"},
    "Secret": {"v1": "V1Secret"},
    "Service": {"v1": "V1Service"},
    "ServiceAccount": {"v1": "V1ServiceAccount"},
    "HorizontalPodAutoscaler": {
        "autoscaling/v1": "V1HorizontalPodAutoscaler",
        "autoscaling/v2": "V2HorizontalPodAutoscaler",
    },
    "Ingress": {"networking.k8s.io/v1": "V1Ingress"},
    "NetworkPolicy": {"networking.k8s.io/v1": "V1NetworkPolicy"},
    "PodDisruptionBudget": {"policy/v1": "V1PodDisruptionBudget"},
}
_NOT_REQUIRED = {"V1beta1ARTExplainerSpec.name"}  # required by the model, but not by the CRD
# written by controllers, and not modelled completely
_OPAQUE = {"status", "managedFields"}

Cleaned = dict[str, Any]


def read_document(document: Mapping[Any, Any]) -> tuple[list[Finding], Cleaned]:
    """Validate a document; returns the findings and the cleaned copy."""
    kind, api_version = document.get("kind"), document.get("apiVersion")
    model = KINDS.get(kind, {}).get(str(api_version)) if isinstance(kind, str) else None
    found = [] if model else list(_unmodelled(kind, api_version))
    metadata = _metadata(document, found, needed=kind != "Kustomization")
    whole = {name: value for name, value in document.items() if name != "metadata"}
    if model:
        return found, {**_read_object(whole, model, "", found), "metadata": metadata}
    rest = {str(name): value for name, value in whole.items()}
    return found, {**rest, "kind": kind if isinstance(kind, str) else "", "metadata": metadata}


def _unmodelled(kind: Any, api_version: Any) -> Iterator[Finding]:
    if not isinstance(kind, str) or not kind:
        yield "kind", f"found {shown(kind)}, allowed is the name of a kind: every Kubernetes document has one"
    if not isinstance(api_version, str) or not api_version:
        yield "apiVersion", f"found {shown(api_version)}, allowed is text: every Kubernetes document has one"
    elif kind in KINDS and not _foreign(api_version, KINDS[kind]):
        yield "apiVersion", f"found {api_version!r}, allowed for {kind} is {' or '.join(KINDS[kind])}"


def _foreign(api_version: str, known: Mapping[str, str]) -> bool:
    """True if a kind of a known name belongs to another API group, such as Knative's Service."""
    group = api_version.rpartition("/")[0]
    ours = any(version.startswith(_SERVING) for version in known)
    return "." in group and not group.endswith(".k8s.io") and not ours


def _metadata(document: Mapping[Any, Any], found: list[Finding], *, needed: bool) -> Cleaned:
    given = document.get("metadata")
    if given is None and needed:
        found.append(("metadata", "found none, allowed is a mapping with a name"))
    if given is None:
        return {}
    metadata = _read_object(given, "V1ObjectMeta", "metadata", found)
    if needed and not metadata.get("name"):
        found.append(("metadata.name", "found none: every Kubernetes document needs a name"))
    return metadata


def _read(value: Any, type_name: str, path: str, found: list[Finding]) -> Any:
    """Append the findings of a value to `found`; returns it cleaned, or None if nothing of it can be kept."""
    type_name = re.sub(r"^K8sIoApi[A-Z][a-z]+(?=V\d)", "", type_name)  # the full name in Go: ...AppsV1Foo is V1Foo
    if match := re.fullmatch(r"list\[(.+)\]", type_name, re.IGNORECASE):
        return _read_list(value, match[1], path, found)
    if match := re.fullmatch(r"dict[\[(]str, (.+)[\])]", type_name, re.IGNORECASE):
        return _read_map(value, match[1], path, found)
    if _model(type_name) is not None:
        return _read_object(value, type_name, path, found)
    if wrong := mistake(value, type_name):
        found.append((path, wrong))
        return None
    return str(value) if type_name == "Quantity" else value


def _read_list(value: Any, item_type: str, path: str, found: list[Finding]) -> list[Any]:
    if not isinstance(value, list):
        found.append((path, f"found {shown(value)}, allowed is a list"))
        return []
    items = [_read(item, item_type, f"{path}[{index}]", found) for index, item in enumerate(value)]
    return [_empty(item_type) if item is None else item for item in items]  # keeps the indices


def _entries(value: Any, path: str, found: list[Finding]) -> Iterable[tuple[Any, Any]]:
    if isinstance(value, Mapping):
        return value.items()
    found.append((path, f"found {shown(value)}, allowed is a mapping"))
    return ()


def _read_map(value: Any, item_type: str, path: str, found: list[Finding]) -> Cleaned:
    cleaned = {}
    for name, item in _entries(value, path, found):
        if isinstance(name, str):
            cleaned[name] = _read(item, item_type, key(path, name), found)
        else:
            found.append((key(path, name), f"found the key {shown(name)}, allowed is text: put it in quotes"))
    return _without_none(cleaned)


def _read_object(value: Any, type_name: str, path: str, found: list[Finding]) -> Cleaned:
    fields, cleaned = _fields(type_name), {}
    given = {name: item for name, item in _entries(value, path, found) if name not in fields or item is not None}
    for name, item in given.items():
        if name in fields:
            cleaned[name] = item if name in _OPAQUE else _read_field(item, name, type_name, key(path, name), found)
        else:
            found.append((key(path, name), _unknown(name, fields)))
    if isinstance(value, Mapping):
        missing = sorted(_required(type_name) - given.keys())
        found += [(key(path, name), "found none: this field is required") for name in missing]
    return _without_none(cleaned)


def _without_none(fields: Cleaned) -> Cleaned:
    return {name: field for name, field in fields.items() if field is not None}


def _read_field(value: Any, name: str, owner: str, path: str, found: list[Finding]) -> Any:
    cleaned = _read(value, type_of(name, _fields(owner)[name]), path, found)
    allowed = ENUMS.get(f"{owner}.{name}")
    if allowed and isinstance(cleaned, str) and cleaned not in allowed:
        found.append((path, f"found {shown(cleaned)}, allowed is {', '.join(allowed)}"))
        return None
    return cleaned


def _unknown(name: Any, fields: Mapping[str, str]) -> str:
    by_lower = {field.lower(): field for field in fields}
    close = difflib.get_close_matches(str(name).lower(), by_lower, n=1)
    return f"unknown field {shown(name)}" + (f": did you mean {by_lower[close[0]]!r}?" if close else ": remove it")


def _empty(type_name: str) -> Any:
    """Return the zero value, into which Go decodes a null."""
    if _model(type_name) is not None or type_name.lower().startswith("dict"):
        return {}
    return [] if type_name.lower().startswith("list") else ""


@cache
def _fields(type_name: str) -> Mapping[str, str]:
    """List the fields of a model: name in JSON -> type."""
    model = _model(type_name)
    return {json_name: model.openapi_types[name] for name, json_name in model.attribute_map.items()}


@cache
def _required(type_name: str) -> frozenset[str]:
    model = _model(type_name)
    names = model.attribute_map
    if hasattr(model, "model_fields"):  # kubernetes: pydantic
        return frozenset(
            names[name] for name, field in model.model_fields.items() if name in names and field.is_required()
        )
    found = (json_name for name, json_name in names.items() if _refuses_none(model, name))
    return frozenset(name for name in found if f"{type_name}.{name}" not in _NOT_REQUIRED)


def _refuses_none(model: Any, name: str) -> bool:
    """True if a field is required, which kserve's models know in their setters only."""
    blank = SimpleNamespace(local_vars_configuration=SimpleNamespace(client_side_validation=True))
    try:
        getattr(model, name).fset(blank, None)
    except ValueError:
        return True
    return False


@cache
def _model(type_name: str) -> Any:
    """Find the model class of a type's name; None for a scalar."""
    import kubernetes.client.models

    return getattr(_kserve_models(), type_name, None) or getattr(kubernetes.client.models, type_name, None)


@cache
def _kserve_models() -> Any:
    """Import kserve.models without kserve itself, which takes two seconds and configures arguments and loggers."""
    if "kserve" in sys.modules:
        import kserve.models

        return kserve.models
    spec = importlib.util.find_spec("kserve")
    assert spec is not None
    sys.modules["kserve"] = importlib.util.module_from_spec(spec)  # not executed
    try:
        import kserve.models

        return kserve.models
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] == "kserve"]:
            del sys.modules[name]
