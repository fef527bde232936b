"""Lint rules for InferenceServices: KServe's webhook, in its order and words, and the storage URI."""

import re
from collections.abc import Iterator

from shardline.client.labels import MODE_ANNOTATION
from shardline.manifests.rules.components import FRAMEWORKS, components, predictor
from shardline.manifests.rules.rule import GRAPH, SERVICE, Finding, Manifest, Severity, key, rule

_SOURCE = "inference_service_validation.go"
_CLASS = "serving.kserve.io/autoscalerClass"
_CLASSES = ("hpa", "external", "keda", "none")
BLOCKED = ("PYTHONPATH",)  # env_policy.go DefaultBlockedEnvVars
# utils.go SupportedStorageURIPrefixList
SCHEMES = (
    "gs://",
    "s3://",
    "pvc://",
    "file://",
    "https://",
    "http://",
    "hdfs://",
    "webhdfs://",
    "oci://",
    "oci+native://",
    "oci+fetch://",
    "hf://",
)
_MODES = ("Standard", "Knative", "ModelMesh")
_IMPLEMENTATIONS = {
    "predictor": "Name, SKLearn, XGBoost, Tensorflow, PyTorch, Triton, ONNX, HuggingFace, PMML, LightGBM, Paddle, "
    "Model, StorageUris, StorageContainerName, WorkerSpec, PodSpec",
    "transformer": "PodSpec, ComponentExtensionSpec",
    "explainer": "ART, PodSpec",
}


@rule(SERVICE, source=_SOURCE)
def autoscaler_class(service: Manifest) -> Iterator[Finding]:
    """The annotation `serving.kserve.io/autoscalerClass` must be hpa, external, keda or none."""
    found = service.annotations.get(_CLASS)
    if found is not None and found not in _CLASSES:
        message = f"[{found}] is not a supported autoscaler class type: allowed is {', '.join(_CLASSES)}"
        yield key("metadata.annotations", _CLASS), message


@rule(SERVICE, source="env_policy.go")
def blocked_env(service: Manifest) -> Iterator[Finding]:
    """No container of a service may set PYTHONPATH."""
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
def standard_predictor_name(service: Manifest) -> Iterator[Finding]:
    """`predictor.model`, and any other framework, must not have a `name`."""
    spec = predictor(service).spec
    for framework in FRAMEWORKS:
        if framework in spec and spec[framework].get("name"):
            path = f"spec.predictor.{framework}.name"
            yield path, "the 'name' field is not allowed in standard predictor: remove it"


@rule(SERVICE, source="inference_service.go")
def predictor_given(service: Manifest) -> Iterator[Finding]:
    """A service must have a `spec` with a predictor."""
    if "predictor" not in service.spec:
        yield "spec", "found no predictor, which the API requires: add spec.predictor"


@rule(SERVICE, source="component.go")
def one_implementation(service: Manifest) -> Iterator[Finding]:
    """Each component must have exactly one implementation: either a `model` or containers."""
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
    """The variable PROTOCOL of a custom predictor's container must be v1 or v2."""
    custom = predictor(service)
    if custom.framework is None and custom.containers:
        found = custom.containers[0].value("PROTOCOL")
        if found is not None and found not in ("v1", "v2"):
            path = f"{custom.containers[0].path}.env"
            yield path, f"invalid protocol {found}. Must be one of [v1, v2]: change PROTOCOL"


@rule(SERVICE, source="component.go")
def container_concurrency(service: Manifest) -> Iterator[Finding]:
    """`containerConcurrency` must not be negative."""
    for component in components(service):
        if (found := component.spec.get("containerConcurrency", 0)) < 0:
            yield f"{component.path}.containerConcurrency", f"parallelism cannot be less than 0: found {found}"


@rule(SERVICE, source="component.go")
def replicas(service: Manifest) -> Iterator[Finding]:
    """`minReplicas` and `maxReplicas` must not be negative, and must be in order."""
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


@rule(SERVICE, GRAPH, source="utils.go GetDeploymentMode")
def deployment_mode(manifest: Manifest) -> Iterator[Finding]:
    """The annotation `serving.kserve.io/deploymentMode` must be a mode of KServe's."""
    if manifest.mode is not None and manifest.mode not in _MODES:
        path = key("metadata.annotations", MODE_ANNOTATION)
        yield path, f"found {manifest.annotations[MODE_ANNOTATION]!r}, allowed is {', '.join(_MODES)}"


@rule(SERVICE, GRAPH, source="utils.go GetDeploymentMode", severity=Severity.WARNING)
def unknown_mode(manifest: Manifest) -> Iterator[Finding]:
    """Services and graphs should set their deployment mode, since a cluster's default may be either."""
    if manifest.mode is None:
        yield (
            key("metadata.annotations", MODE_ANNOTATION),
            "found none: the cluster's default decides; write Standard or Knative",
        )


@rule(SERVICE, source="utils.go ValidateStorageURI")
def storage_scheme(service: Manifest) -> Iterator[Finding]:
    """A storage URI must have a scheme that KServe's storage initializer supports."""
    for path, uri in _uris(service):
        if re.search(r"\w+?://", uri) and not uri.startswith(SCHEMES):
            yield (
                path,
                f"storageUri, must be one of: [{', '.join(SCHEMES)}] or match https://{{}}.blob.core.windows.net/"
                f"{{}}/{{}} or be an absolute or relative local path. StorageUri [{uri}] is not supported: push the "
                "bundle to gs://",
            )


@rule(SERVICE, source="utils.go ValidateStorageURI", severity=Severity.WARNING)
def storage_local(service: Manifest) -> Iterator[Finding]:
    """A storage URI should not be a local path, where a pod finds nothing."""
    for path, uri in _uris(service):
        if not re.search(r"\w+?://", uri) or uri.startswith("file://"):
            yield path, f"found {uri!r}, which is a path in the pod's own file system: push the bundle to gs://"


def _uris(service: Manifest) -> Iterator[tuple[str, str]]:
    for component in components(service):
        if component.storage_uri is not None:
            yield component.storage_uri
        for index, source in enumerate(component.spec.get("storageUris", ())):
            yield f"{component.path}.storageUris[{index}].uri", source.get("uri", "")
