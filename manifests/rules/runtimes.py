"""ServingRuntimes: what KServe's webhook asks of them, and which of them a service's model can run on."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from shardline.manifests.rules.components import CONTAINER, predictor
from shardline.manifests.rules.rule import CLUSTER_RUNTIME, RUNTIME, SERVICE, Finding, Manifest, Severity, rule
from shardline.manifests.rules.service import BLOCKED

_WEBHOOK = "servingruntime_webhook.go"
_SELECTION = "predictor_model.go"
# A Go template over the service's metadata; nothing else is needed of the language
_PLACEHOLDER = re.compile(r"{{\s*\.(Name|Namespace|(Labels|Annotations)\.[A-Za-z_]\w*)\s*}}")


def _disabled(runtime: Manifest) -> bool:
    return runtime.spec.get("disabled") is True


def _formats(runtime: Manifest) -> list[Mapping[str, Any]]:
    return list(runtime.spec.get("supportedModelFormats", ()))


@rule(RUNTIME, CLUSTER_RUNTIME, source="env_policy.go")
def runtime_blocked_env(runtime: Manifest) -> Iterator[Finding]:
    """No container of a runtime sets PYTHONPATH."""
    owners = {"spec": runtime.spec, "spec.workerSpec": runtime.spec.get("workerSpec", {})}
    for path, owner in owners.items():
        for index, container in enumerate(owner.get("containers", ())):
            for name in (each.get("name") for each in container.get("env", ())):
                if name in BLOCKED and not _disabled(runtime):
                    yield (
                        f"{path}.containers[{index}].env",
                        f'the {runtime.kind} "{runtime.name}" is invalid: setting {name} in container '
                        f'"{container.get("name", "")}" is not allowed for security reasons: remove it',
                    )


@rule(RUNTIME, CLUSTER_RUNTIME, source="predictor.go buildPodSpec")
def runtime_container(runtime: Manifest) -> Iterator[Finding]:
    """A runtime has a container named `kserve-container`."""
    names = [each.get("name", "") for each in runtime.spec.get("containers", ())]
    if CONTAINER not in names:
        found = ", ".join(names) or "none"
        yield "spec.containers", f"found {found}, needed is one named {CONTAINER!r}: a service's model runs in it"


@rule(SERVICE, source=_SELECTION, severity=Severity.WARNING)
def runtime_given(service: Manifest) -> Iterator[Finding]:
    """The runtime that a model names, or one that selects its format, is among the documents."""
    model = predictor(service).framework
    if model is None or "modelFormat" not in model.fields:
        return
    name = model.fields.get("runtime")
    if name is not None and not _runtime(service, name):
        yield f"{model.path}.runtime", f"{name!r} is not among the documents: it must be in the cluster already"
    elif name is None and not any(_supports(each, model.fields, named=False) for each in _runtimes(service)):
        yield (
            f"{model.path}.modelFormat",
            f"no runtime found to support predictor with model type {_format(model.fields)} among the documents: name "
            "one in runtime",
        )


@rule(SERVICE, source=_SELECTION)
def runtime_enabled(service: Manifest) -> Iterator[Finding]:
    """The runtime that a model names is not disabled."""
    for path, _, runtime in _chosen(service):
        if _disabled(runtime):
            yield f"{path}.runtime", f"specified runtime {runtime.name} is disabled: name another"


@rule(SERVICE, source=_SELECTION)
def runtime_protocol(service: Manifest) -> Iterator[Finding]:
    """The runtime that a model names has the model's protocol."""
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
    """The runtime that a model names has the model's format, in the model's version if it tells one."""
    for path, model, runtime in _chosen(service):
        if "modelFormat" in model and not _supports(runtime, model, named=True):
            known = ", ".join(_label(each) for each in _formats(runtime)) or "none"
            yield (
                f"{path}.modelFormat",
                f"specified runtime {runtime.name} does not support specified framework/version: found "
                f"{_format(model)}, it has {known}",
            )


@rule(SERVICE, source="utils.go ReplacePlaceholders")
def placeholder(service: Manifest) -> Iterator[Finding]:
    """`{{` in a model's fields or its runtime's container is one of the service's metadata, as in `{{.Name}}`."""
    model = predictor(service).framework
    if model is not None:
        yield from _placeholders(model.path, model.fields)
    for _, _, runtime in _chosen(service):
        for index, container in enumerate(runtime.spec.get("containers", ())):
            for path, message in _placeholders(f"spec.containers[{index}]", container):
                yield f"{runtime.label}: {path}", message


def _placeholders(path: str, value: Any) -> Iterator[Finding]:
    if isinstance(value, Mapping):
        for name, each in value.items():
            yield from _placeholders(f"{path}.{name}", each)
    elif isinstance(value, list):
        for index, each in enumerate(value):
            yield from _placeholders(f"{path}[{index}]", each)
    elif isinstance(value, str) and "{{" in _PLACEHOLDER.sub("", value):
        allowed = "{{.Name}}, {{.Namespace}}, {{.Labels.x}} and {{.Annotations.x}}"
        yield path, f"found {value!r}: KServe reads the container as a Go template; allowed are {allowed}"


def _chosen(service: Manifest) -> Iterator[tuple[str, Mapping[str, Any], Manifest]]:
    """Path and fields of the model, and the runtime that it names, where that is among the documents."""
    model = predictor(service).framework
    runtime = _runtime(service, model.fields.get("runtime", "")) if model else None
    if model is not None and runtime is not None:
        yield model.path, model.fields, runtime


def _runtime(service: Manifest, name: str) -> Manifest | None:
    """The namespace's own wins over the cluster's (utils.go GetServingRuntime)."""
    return next((each for each in _runtimes(service) if each.name == name), None)


def _runtimes(service: Manifest) -> list[Manifest]:
    return [*service.beside(RUNTIME), *(each for each in service.scope if each.kind == CLUSTER_RUNTIME)]


def _supports(runtime: Manifest, model: Mapping[str, Any], *, named: bool) -> bool:
    """RuntimeSupportsModel; a runtime that is not named must select the format by itself, and have the protocol."""
    asked = model.get("modelFormat", {})
    protocols = runtime.spec.get("protocolVersions", ())
    if not named and (_disabled(runtime) or (protocols and model.get("protocolVersion", "v1") not in protocols)):
        return False
    return any(
        each.get("name") == asked.get("name") and asked.get("version") in (None, each.get("version"))
        for each in _formats(runtime)
        if named or each.get("autoSelect") is True
    )


def _format(model: Mapping[str, Any]) -> str:
    return _label(model.get("modelFormat", {}))


def _label(model_format: Mapping[str, Any]) -> str:
    return " ".join(str(model_format[each]) for each in ("name", "version") if each in model_format) or "no format"
