"""Lint rules for ServingRuntimes, and for the runtime that a service's model selects."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from shardline.manifests.rules.components import CONTAINER, predictor
from shardline.manifests.rules.rule import CLUSTER_RUNTIME, RUNTIME, SERVICE, Finding, Manifest, Severity, rule
from shardline.manifests.rules.service import BLOCKED

_WEBHOOK = "servingruntime_webhook.go"
_SELECTION = "predictor_model.go"
# the part of Go's template language that refers to the service's metadata
_PLACEHOLDER = re.compile(r"{{\s*\.(Name|Namespace|(Labels|Annotations)\.[A-Za-z_]\w*)\s*}}")


def _disabled(runtime: Manifest) -> bool:
    return runtime.spec.get("disabled") is True


def _formats(runtime: Manifest) -> list[Mapping[str, Any]]:
    return list(runtime.spec.get("supportedModelFormats", ()))


@rule(RUNTIME, CLUSTER_RUNTIME, source="env_policy.go")
def runtime_blocked_env(runtime: Manifest) -> Iterator[Finding]:
    """No container of a runtime may set PYTHONPATH."""
    owners = {"spec": runtime.spec, "spec.workerSpec": runtime.spec.get("workerSpec", {})}
    for path, owner in owners.items():
        for index, container in enumerate(owner.get("containers", ())):
            for name in (variable.get("name") for variable in container.get("env", ())):
                if name in BLOCKED and not _disabled(runtime):
                    yield (
                        f"{path}.containers[{index}].env",
                        f'the {runtime.kind} "{runtime.name}" is invalid: setting {name} in container '
                        f'"{container.get("name", "")}" is not allowed for security reasons: remove it',
                    )


@rule(RUNTIME, CLUSTER_RUNTIME, source="predictor.go buildPodSpec")
def runtime_container(runtime: Manifest) -> Iterator[Finding]:
    """A runtime must have a container named `kserve-container`."""
    names = [container.get("name", "") for container in runtime.spec.get("containers", ())]
    if CONTAINER not in names:
        found = ", ".join(names) or "none"
        yield "spec.containers", f"found {found}, required is one named {CONTAINER!r}, in which a service's model runs"


@rule(SERVICE, source=_SELECTION, severity=Severity.WARNING)
def runtime_given(service: Manifest) -> Iterator[Finding]:
    """The runtime that a model names, or one that selects its format, should be among the documents."""
    model = predictor(service).framework
    if model is None or "modelFormat" not in model.fields:
        return
    name = model.fields.get("runtime")
    if name is not None and not _runtime(service, name):
        yield f"{model.path}.runtime", f"{name!r} is not among the documents: it must be in the cluster already"
    elif name is None and not any(_supports(runtime, model.fields, named=False) for runtime in _runtimes(service)):
        yield (
            f"{model.path}.modelFormat",
            f"no runtime found to support predictor with model type {_label(model.fields['modelFormat'])} among the "
            "documents: name one in runtime",
        )


@rule(SERVICE, source=_SELECTION)
def runtime_enabled(service: Manifest) -> Iterator[Finding]:
    """The runtime that a model names must not be disabled."""
    for path, _, runtime in _chosen(service):
        if _disabled(runtime):
            yield f"{path}.runtime", f"specified runtime {runtime.name} is disabled: name another"


@rule(SERVICE, source=_SELECTION)
def runtime_protocol(service: Manifest) -> Iterator[Finding]:
    """The runtime that a model names must support the model's protocol."""
    for path, model, runtime in _chosen(service):
        found, allowed = model.get("protocolVersion"), runtime.spec.get("protocolVersions", ())
        if found is not None and allowed and found not in allowed:
            yield (
                f"{path}.protocolVersion",
                f"specified runtime {runtime.name} does not support specified protocol version: found {found}, it has "
                f"{', '.join(allowed)}",
            )


@rule(SERVICE, source=_SELECTION)
def runtime_format(service: Manifest) -> Iterator[Finding]:
    """The runtime that a model names must support the model's format, in the given version if there is one."""
    for path, model, runtime in _chosen(service):
        if "modelFormat" in model and not _supports(runtime, model, named=True):
            known = ", ".join(_label(supported) for supported in _formats(runtime)) or "none"
            yield (
                f"{path}.modelFormat",
                f"specified runtime {runtime.name} does not support specified framework/version: found "
                f"{_label(model['modelFormat'])}, it has {known}",
            )


@rule(SERVICE, source="utils.go ReplacePlaceholders")
def placeholder(service: Manifest) -> Iterator[Finding]:
    """A placeholder of a model or its runtime's container must name the service's metadata, as `{{.Name}}` does."""
    model = predictor(service).framework
    if model is not None:
        yield from _placeholders(model.path, model.fields)
    for _, _, runtime in _chosen(service):
        for index, container in enumerate(runtime.spec.get("containers", ())):
            for path, message in _placeholders(f"spec.containers[{index}]", container):
                yield f"{runtime.label}: {path}", message


def _placeholders(path: str, value: Any) -> Iterator[Finding]:
    if isinstance(value, Mapping):
        for name, field in value.items():
            yield from _placeholders(f"{path}.{name}", field)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _placeholders(f"{path}[{index}]", item)
    elif isinstance(value, str) and "{{" in _PLACEHOLDER.sub("", value):
        allowed = "{{.Name}}, {{.Namespace}}, {{.Labels.x}} and {{.Annotations.x}}"
        yield path, f"found {value!r}: KServe reads the container as a Go template; allowed are {allowed}"


def _chosen(service: Manifest) -> Iterator[tuple[str, Mapping[str, Any], Manifest]]:
    """Find the runtime that a model names, if it is among the documents: path of the model, its fields, runtime."""
    model = predictor(service).framework
    runtime = _runtime(service, model.fields.get("runtime", "")) if model else None
    if model is not None and runtime is not None:
        yield model.path, model.fields, runtime


def _runtime(service: Manifest, name: str) -> Manifest | None:
    """Find a runtime by name; the namespace's takes priority over the cluster's (utils.go GetServingRuntime)."""
    return next((runtime for runtime in _runtimes(service) if runtime.name == name), None)


def _runtimes(service: Manifest) -> list[Manifest]:
    return [*service.beside(RUNTIME), *(document for document in service.scope if document.kind == CLUSTER_RUNTIME)]


def _supports(runtime: Manifest, model: Mapping[str, Any], *, named: bool) -> bool:
    """Decide as RuntimeSupportsModel does; an unnamed runtime must auto-select the format and have the protocol."""
    asked = model.get("modelFormat", {})
    protocols = runtime.spec.get("protocolVersions", ())
    if not named and (_disabled(runtime) or (protocols and model.get("protocolVersion", "v1") not in protocols)):
        return False
    return any(
        supported.get("name") == asked.get("name") and asked.get("version") in (None, supported.get("version"))
        for supported in _formats(runtime)
        if named or supported.get("autoSelect") is True
    )


def _label(model_format: Mapping[str, Any]) -> str:
    return " ".join(str(model_format[field]) for field in ("name", "version") if field in model_format) or "no format"
