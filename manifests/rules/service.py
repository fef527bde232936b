"""What KServe's webhook asks of an InferenceService, in its order and its words; scaling and storage stand beside."""

import re
from collections.abc import Iterator

from shardline.manifests.rules.components import FRAMEWORKS, TRANSFORMER_CONTAINER, components, predictor
from shardline.manifests.rules.manifest import MODE, Manifest
from shardline.manifests.rules.rule import GRAPH, SERVICE, Finding, Severity, key, rule

_SOURCE = "inference_service_validation.go"
_NAME = "[a-z]([-a-z0-9]*[a-z0-9])?"
_CLASS = "serving.kserve.io/autoscalerClass"
_CLASSES = ("hpa", "external", "keda", "none")
BLOCKED = ("PYTHONPATH",)  # env_policy.go DefaultBlockedEnvVars
_MODES = ("Standard", "Knative", "ModelMesh")
_IMPLEMENTATIONS = {
    "predictor": "Name, SKLearn, XGBoost, Tensorflow, PyTorch, Triton, ONNX, HuggingFace, PMML, LightGBM, Paddle, "
    "Model, StorageUris, StorageContainerName, WorkerSpec, PodSpec",
    "transformer": "PodSpec, ComponentExtensionSpec",
    "explainer": "ART, PodSpec",
}


@rule(SERVICE, source=_SOURCE)
def service_name(service: Manifest) -> Iterator[Finding]:
    """A service's name is lower-case letters, digits and `-`, from a letter on."""
    if service.name and not re.fullmatch(_NAME, service.name):
        yield (
            "metadata.name",
            f'the InferenceService "{service.name}" is invalid: a InferenceService name must consist of lower case '
            "alphanumeric characters or '-', and must start with alphabetical character. "
            f'(e.g. "my-name" or "abc-123", regex used for validation is \'{_NAME}\'): choose another name',
        )


@rule(SERVICE, source=_SOURCE)
def autoscaler_class(service: Manifest) -> Iterator[Finding]:
    """The annotation `serving.kserve.io/autoscalerClass` is hpa, external, keda or none."""
    found = service.annotations.get(_CLASS)
    if found is not None and found not in _CLASSES:
        message = f"[{found}] is not a supported autoscaler class type: allowed is {', '.join(_CLASSES)}"
        yield key("metadata.annotations", _CLASS), message


@rule(SERVICE, source="env_policy.go")
def blocked_env(service: Manifest) -> Iterator[Finding]:
    """No container of a service sets PYTHONPATH."""
    for component in components(service):
        for container in component.everything:
            for index, variable in enumerate(container.env):
                if variable.get("name") in BLOCKED:
                    yield (
                        f"{container.path}.env[{index}]",
                        f'the InferenceService "{service.name}" is invalid: setting {variable["name"]} in container '
                        f'"{container.name}" is not allowed for security reasons: remove it',
                    )


@rule(SERVICE, source=_SOURCE)
def collocated_storage(service: Manifest) -> Iterator[Finding]:
    """A transformer in the predictor's pod has no STORAGE_URI of its own."""
    for container in predictor(service).containers:
        if container.name == TRANSFORMER_CONTAINER and container.value("STORAGE_URI") is not None:
            yield (
                f"{container.path}.env",
                "storage uri should not be specified in transformer container: remove STORAGE_URI; it sees the "
                "predictor's files",
            )


@rule(SERVICE, source=_SOURCE)
def standard_predictor_name(service: Manifest) -> Iterator[Finding]:
    """`predictor.model`, and any other framework, has no `name`."""
    spec = predictor(service).spec
    for framework in FRAMEWORKS:
        if framework in spec and spec[framework].get("name"):
            path = f"spec.predictor.{framework}.name"
            yield path, "the 'name' field is not allowed in standard predictor: remove it"


@rule(SERVICE, source="component.go")
def one_implementation(service: Manifest) -> Iterator[Finding]:
    """Each component has exactly one implementation: a `model` or containers, not both, not none."""
    for component in components(service):
        if component.implementations != 1:
            name = component.name.capitalize()
            yield (
                component.path,
                f"exactly one of [{_IMPLEMENTATIONS[component.name]}] must be specified in {name}Spec: "
                f"found {component.implementations}",
            )


@rule(SERVICE, source="predictor_custom.go")
def custom_protocol(service: Manifest) -> Iterator[Finding]:
    """The variable PROTOCOL of a predictor's own container is v1 or v2."""
    custom = predictor(service)
    if custom.framework is None and custom.containers:
        found = custom.containers[0].value("PROTOCOL")
        if found is not None and found not in ("v1", "v2"):
            path = f"{custom.containers[0].path}.env"
            yield path, f"invalid protocol {found}. Must be one of [v1, v2]: change PROTOCOL"


@rule(SERVICE, source="component.go")
def container_concurrency(service: Manifest) -> Iterator[Finding]:
    """`containerConcurrency` is not negative."""
    for component in components(service):
        if (found := component.spec.get("containerConcurrency", 0)) < 0:
            yield f"{component.path}.containerConcurrency", f"parallelism cannot be less than 0: found {found}"


@rule(SERVICE, source="component.go")
def replicas(service: Manifest) -> Iterator[Finding]:
    """`minReplicas` and `maxReplicas` are not negative, and in order."""
    for component in components(service):
        least, most = component.spec.get("minReplicas", 1), component.spec.get("maxReplicas", 0)
        if least < 0:
            yield f"{component.path}.minReplicas", f"'MinReplicas' cannot be less than 0: found {least}"
        if most < 0:
            yield f"{component.path}.maxReplicas", f"'MaxReplicas' cannot be less than 0: found {most}"
        elif most and least > most:
            yield (
                f"{component.path}.minReplicas",
                f"'MinReplicas' cannot be greater than MaxReplicas: found {least}, allowed is at most {most}",
            )


@rule(SERVICE, source="component.go")
def logger(service: Manifest) -> Iterator[Finding]:
    """A logger has a mode, and a whole storage if any."""
    for component in components(service):
        given = component.spec.get("logger")
        if given is None:
            continue
        if "mode" not in given:
            yield f"{component.path}.logger.mode", "invalid logger type: allowed is all, request or response"
        storage = given.get("storage")
        if storage is not None and not {"path", "parameters", "key"} <= set(storage):
            path = f"{component.path}.logger.storage"
            yield path, "invalid logger storage configuration: give it a path, parameters and key"


@rule(SERVICE, GRAPH, source="utils.go GetDeploymentMode")
def deployment_mode(manifest: Manifest) -> Iterator[Finding]:
    """The annotation `serving.kserve.io/deploymentMode` is one that KServe knows."""
    if manifest.mode is not None and manifest.mode not in _MODES:
        path = key("metadata.annotations", MODE)
        yield path, f"found {manifest.annotations[MODE]!r}, allowed is {', '.join(_MODES)}"


@rule(SERVICE, GRAPH, source="utils.go GetDeploymentMode", severity=Severity.WARNING)
def unknown_mode(manifest: Manifest) -> Iterator[Finding]:
    """Services and graphs say their deployment mode: a cluster's default may be either."""
    if manifest.mode is None:
        yield key("metadata.annotations", MODE), "found none: the cluster's default decides; write Standard or Knative"
