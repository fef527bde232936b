"""What KServe's webhooks ask of a `workerSpec`, by which one model takes several nodes."""

import json
from collections.abc import Iterator
from typing import Any

from shardline.manifests.rules.components import CONTAINER, predictor
from shardline.manifests.rules.manifest import Container, Document, Manifest, containers
from shardline.manifests.rules.rule import CLUSTER_RUNTIME, RUNTIME, SERVICE, Finding, rule

_SERVICE = "inference_service_validation.go validateMultiNodeVariables"
_RUNTIME = "servingruntime_webhook.go validateMultiNodeSpec"
_SIZES = ("pipelineParallelSize", "tensorParallelSize")
_VARIABLES = ("PIPELINE_PARALLEL_SIZE", "TENSOR_PARALLEL_SIZE")
_CLASS = "serving.kserve.io/autoscalerClass"
_GPU_TYPES = "serving.kserve.io/gpu-resource-types"
_BASIC = {"cpu", "memory", "storage", "ephemeral-storage"}
_GPUS = {"nvidia.com/gpu", "amd.com/gpu", "intel.com/gpu", "habana.ai/gaudi"}  # constants.go


def _invalid(manifest: Manifest, what: str) -> str:
    return f'the {manifest.kind} "{manifest.name}" is invalid: {what}'


def _worker(owner: Document) -> Document | None:
    found = owner.get("workerSpec")
    return found if isinstance(found, dict) else None


@rule(SERVICE, RUNTIME, CLUSTER_RUNTIME, source=_SERVICE)
def worker_containers(manifest: Manifest) -> Iterator[Finding]:
    """A workerSpec has one container."""
    for path, owner in _owners(manifest):
        worker = _worker(owner)
        if worker is not None and len(worker.get("containers", ())) > 1:
            what = "setting multiple containers in workerSpec is not allowed: keep one"
            yield f"{path}.workerSpec.containers", _invalid(manifest, what)


@rule(SERVICE, RUNTIME, CLUSTER_RUNTIME, source=_SERVICE)
def worker_sizes(manifest: Manifest) -> Iterator[Finding]:
    """A workerSpec's parallel sizes are at least 1."""
    for path, owner in _owners(manifest):
        for name in _SIZES:
            size = (_worker(owner) or {}).get(name, 1)
            if size < 1:
                what = f"WorkerSpec.{name[0].upper()}{name[1:]} cannot be less than 1({size})"
                yield f"{path}.workerSpec.{name}", _invalid(manifest, what)


@rule(SERVICE, RUNTIME, CLUSTER_RUNTIME, source=_SERVICE)
def worker_env(manifest: Manifest) -> Iterator[Finding]:
    """Beside a workerSpec no container sets the parallel sizes in its environment."""
    for container in _heads(manifest):
        for variable in _VARIABLES:
            if container.value(variable) is not None:
                what = f"setting {variable} in environment variables is not allowed: write it in workerSpec"
                yield f"{container.path}.env", _invalid(manifest, what)


@rule(SERVICE, RUNTIME, CLUSTER_RUNTIME, source=_SERVICE)
def worker_gpu(manifest: Manifest) -> Iterator[Finding]:
    """With a workerSpec every resource besides CPU, memory and storage is a GPU that KServe knows."""
    workers = [each for path, owner in _owners(manifest) for each in _workers(path, owner)]
    for container in [*_heads(manifest), *workers]:
        resources = container.fields.get("resources", {})
        unknown = {*resources.get("limits", {}), *resources.get("requests", {})} - _BASIC - _GPUS - _own_gpus(manifest)
        if unknown:
            what = f"Unknown GPU resource type. Set '{_GPU_TYPES}' annotation to use custom gpu resource type"
            yield f"{container.path}.resources", f"{_invalid(manifest, what)}: found {', '.join(sorted(unknown))}"


@rule(SERVICE, source=_SERVICE)
def worker_storage(service: Manifest) -> Iterator[Finding]:
    """A model with a workerSpec has a storageUri, of pvc or oci, and is scaled by nobody."""
    back = predictor(service)
    model = back.spec.get("model")
    if _worker(back.spec) is None or model is None:
        return
    uri = model.get("storageUri")
    if uri is None:
        yield "spec.predictor.model", _invalid(service, "StorageURI must be set for multinode enabled: add storageUri")
    elif (scheme := uri.split("://")[0]) not in ("pvc", "oci"):
        what = f"Multinode only supports 'pvc' and 'oci' Storage Protocol({scheme})"
        yield "spec.predictor.model.storageUri", _invalid(service, what)
    if (found := service.annotations.get(_CLASS, "")) != "none":
        what = f"Multinode only supports 'none' autoscaler({found}): annotate {_CLASS}: none"
        yield "metadata.annotations", _invalid(service, what)


def _owners(manifest: Manifest) -> list[tuple[str, Document]]:
    """What may have a workerSpec: a service's predictor, a runtime itself."""
    if manifest.kind == SERVICE:
        return [("spec.predictor", predictor(manifest).spec)]
    return [("spec", manifest.spec)]


def _workers(path: str, owner: Document) -> Iterator[Container]:
    return containers(_worker(owner) or {}, f"{path}.workerSpec")


def _heads(manifest: Manifest) -> list[Container]:
    """The containers beside a workerSpec that the webhooks look at."""
    [(path, owner)] = _owners(manifest)
    if _worker(owner) is None:
        return []
    if manifest.kind != SERVICE:
        return [each for each in containers(owner, path) if each.name == CONTAINER]
    return [Container(path=f"{path}.model", fields=owner["model"])] if "model" in owner else []


def _own_gpus(manifest: Manifest) -> set[str]:
    """The annotation's JSON list."""
    try:
        found: Any = json.loads(str(manifest.annotations.get(_GPU_TYPES, "[]")))
    except ValueError:
        return set()
    return {each for each in found if isinstance(each, str)} if isinstance(found, list) else set()
