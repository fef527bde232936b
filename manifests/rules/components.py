"""Components of an InferenceService (predictor, transformer, explainer), with their containers and models."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from shardline.client.labels import Document
from shardline.manifests.rules.rule import Container, Manifest, containers

CONTAINER = "kserve-container"
TRANSFORMER_CONTAINER = "transformer-container"
# predictor.go GetImplementations; an explainer has `art`
FRAMEWORKS = (
    "xgboost",
    "pytorch",
    "triton",
    "sklearn",
    "tensorflow",
    "onnx",
    "pmml",
    "lightgbm",
    "paddle",
    "huggingface",
    "model",
)
_STORAGE_ENV = "STORAGE_URI"


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """One component of an InferenceService."""

    name: str  # predictor, transformer or explainer
    spec: Document

    @property
    def path(self) -> str:
        """Path of the component in its document."""
        return f"spec.{self.name}"

    @property
    def containers(self) -> list[Container]:
        """Containers of the component's pod."""
        return list(containers(self.spec, self.path))

    @property
    def framework(self) -> Container | None:
        """The field `model`, or that of another framework: a container with more fields."""
        names = {"predictor": FRAMEWORKS, "explainer": ("art",)}.get(self.name, ())
        found = [name for name in names if name in self.spec]
        return Container(path=f"{self.path}.{found[0]}", fields=self.spec[found[0]]) if found else None

    @property
    def everything(self) -> Iterator[Container]:
        """Every container of the component's pods, including init containers and those of workers."""
        yield from containers(self.spec, self.path, "containers", "initContainers")
        if self.framework is not None:
            yield self.framework
        if worker := self.spec.get("workerSpec"):
            yield from containers(worker, f"{self.path}.workerSpec", "containers", "initContainers")

    @property
    def implementations(self) -> int:
        """Number of implementations as KServe counts them (GetImplementations): frameworks and kserve-containers."""
        names = {"predictor": FRAMEWORKS, "explainer": ("art",)}.get(self.name, ())
        count = sum(name in self.spec for name in names)
        if self.name != "predictor":
            return count + bool(self.containers)
        custom = sum(container.name == CONTAINER for container in self.containers)
        return count + custom or int(bool(self.containers))

    @property
    def storage_uri(self) -> tuple[str, str] | None:
        """Path and value of the storage URI: the framework's field, or the variable of a custom container."""
        if self.framework is not None:
            uri = self.framework.fields.get("storageUri")
            return None if uri is None else (f"{self.framework.path}.storageUri", str(uri))
        named = [container for container in self.containers if self.name != "predictor" or container.name == CONTAINER]
        found = [(f"{container.path}.env", container.value(_STORAGE_ENV)) for container in named[:1]]
        return next(((path, value) for path, value in found if value is not None), None)


def components(service: Manifest) -> list[Component]:
    """List the components that a service has."""
    found = {name: service.spec.get(name) for name in ("predictor", "transformer", "explainer")}
    return [Component(name=name, spec=spec) for name, spec in found.items() if isinstance(spec, dict)]


def predictor(service: Manifest) -> Component:
    """Get the predictor of a service; an empty one if it has none."""
    spec: Any = service.spec.get("predictor")
    return Component(name="predictor", spec=spec if isinstance(spec, dict) else {})


def transformer(service: Manifest) -> Component | None:
    """Get the transformer of a service."""
    return next((component for component in components(service) if component.name == "transformer"), None)


def model_name(service: Manifest) -> str:
    """Find the model's name in the graph's path, which ignores a runtime's args (utils.go GetModelName)."""
    front, back = transformer(service), predictor(service)
    if front is not None and front.containers and (name := named_in(front.containers[0].args)):
        return name
    if back.framework is not None:
        name = back.framework.value("MLSERVER_MODEL_NAME") or named_in(back.framework.args)
    else:
        name = named_in(back.containers[0].args) if back.containers else ""
    return name or service.name


def named_in(args: list[str]) -> str:
    """Read `--model_name` as KServe's controller does (utils.go getModelNameFromArgs), including its oddities."""
    name = ""
    for index, arg in enumerate(args):
        if arg.startswith("--model_name"):
            parts = arg.split("=")
            name = parts[1] if len(parts) == 2 else name
            if index + 1 < len(args) and not args[index + 1].startswith("--"):
                name = args[index + 1]
    return name


def protocol(service: Manifest) -> str:
    """Find the protocol of the graph's path, as far as the service itself defines it."""
    front, back = transformer(service), predictor(service)
    if front is not None:
        return (front.containers[0].value("PROTOCOL") if front.containers else None) or "v1"
    if back.framework is not None:
        return str(back.framework.fields.get("protocolVersion") or "v1")
    collocated = [container for container in back.containers if container.name == TRANSFORMER_CONTAINER]
    chosen = collocated or back.containers
    return (chosen[0].value("PROTOCOL") if chosen else None) or "v1"
