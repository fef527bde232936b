"""The components of an InferenceService: predictor, transformer and explainer, and what each runs."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from shardline.manifests.rules.rule import Container, Document, Manifest, containers

CONTAINER = "kserve-container"
TRANSFORMER_CONTAINER = "transformer-container"
# predictor.go GetImplementations, and the explainer's one
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
    name: str  # predictor, transformer or explainer
    spec: Document

    @property
    def path(self) -> str:
        return f"spec.{self.name}"

    @property
    def containers(self) -> list[Container]:
        return list(containers(self.spec, self.path))

    @property
    def framework(self) -> Container | None:
        """What stands under `model` or another framework's name: a container with more fields."""
        names = {"predictor": FRAMEWORKS, "explainer": ("art",)}.get(self.name, ())
        found = [name for name in names if name in self.spec]
        return Container(path=f"{self.path}.{found[0]}", fields=self.spec[found[0]]) if found else None

    @property
    def everything(self) -> Iterator[Container]:
        """Every container that a pod of this component may get, its workers' too."""
        yield from containers(self.spec, self.path, "containers", "initContainers")
        if self.framework is not None:
            yield self.framework
        if worker := self.spec.get("workerSpec"):
            yield from containers(worker, f"{self.path}.workerSpec", "containers", "initContainers")

    @property
    def implementations(self) -> int:
        """How many KServe counts (GetImplementations): frameworks, and containers of its name."""
        names = {"predictor": FRAMEWORKS, "explainer": ("art",)}.get(self.name, ())
        count = sum(name in self.spec for name in names)
        if self.name != "predictor":
            return count + bool(self.containers)
        custom = sum(each.name == CONTAINER for each in self.containers)
        return count + custom or int(bool(self.containers))

    @property
    def storage_uri(self) -> tuple[str, str] | None:
        """Path and value of the one storage URI: the framework's field, or a custom container's variable."""
        if self.framework is not None:
            uri = self.framework.fields.get("storageUri")
            return None if uri is None else (f"{self.framework.path}.storageUri", str(uri))
        named = [each for each in self.containers if self.name != "predictor" or each.name == CONTAINER]
        found = [(f"{each.path}.env", each.value(_STORAGE_ENV)) for each in named[:1]]
        return next(((path, value) for path, value in found if value is not None), None)


def components(service: Manifest) -> list[Component]:
    """Those that a service has."""
    found = {name: service.spec.get(name) for name in ("predictor", "transformer", "explainer")}
    return [Component(name=name, spec=spec) for name, spec in found.items() if isinstance(spec, Mapping)]


def predictor(service: Manifest) -> Component:
    spec: Any = service.spec.get("predictor")
    return Component(name="predictor", spec=spec if isinstance(spec, Mapping) else {})


def transformer(service: Manifest) -> Component | None:
    return next((each for each in components(service) if each.name == "transformer"), None)


def model_name(service: Manifest) -> str:
    """What the graph's path calls the model (utils.go GetModelName): args count, a runtime's do not."""
    front, back = transformer(service), predictor(service)
    if front is not None and front.containers and (name := named_in(front.containers[0].args)):
        return name
    if back.framework is not None:
        name = back.framework.value("MLSERVER_MODEL_NAME") or named_in(back.framework.args)
    else:
        name = named_in(back.containers[0].args) if back.containers else ""
    return name or service.name


def named_in(args: list[str]) -> str:
    """`--model_name` as KServe's controller reads it (utils.go getModelNameFromArgs), its oddities included."""
    name = ""
    for index, arg in enumerate(args):
        if arg.startswith("--model_name"):
            parts = arg.split("=")
            name = parts[1] if len(parts) == 2 else name
            if index + 1 < len(args) and not args[index + 1].startswith("--"):
                name = args[index + 1]
    return name


def protocol(service: Manifest) -> str:
    """The protocol that the graph's path is for, as far as the service itself tells it."""
    front, back = transformer(service), predictor(service)
    if front is not None:
        return (front.containers[0].value("PROTOCOL") if front.containers else None) or "v1"
    if back.framework is not None:
        return str(back.framework.fields.get("protocolVersion") or "v1")
    collocated = [each for each in back.containers if each.name == TRANSFORMER_CONTAINER]
    chosen = collocated or back.containers
    return (chosen[0].value("PROTOCOL") if chosen else None) or "v1"
