"""Read the workloads of a chain from its documents, as KServe's controller does: containers, arguments, addresses.

A mistake that KServe would report in a status or an event is a ManifestError here.
"""

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shardline.client.labels import Document
from shardline.manifests.documents import read_with_files
from shardline.manifests.quantities import parse_quantity
from shardline.manifests.rules.components import model_name
from shardline.manifests.rules.rule import Manifest
from shardline.wire.errors import ManifestError

_KINDS = ("ServingRuntime", "InferenceService", "InferenceGraph")  # other kinds have no effect outside a cluster


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """One component of an InferenceService, with what its Deployment runs."""

    service: str
    component: str  # "predictor" or "transformer"
    command: tuple[str, ...]
    args: tuple[str, ...]
    env: Mapping[str, str]  # without the values that the cluster provides (valueFrom)
    ready_path: str | None  # None, KServe's default: ready as soon as the port is open
    ready_period_s: float
    startup_s: float
    replicas: int
    storage_uri: str | None
    cpus: int | None  # the limit, rounded up

    @property
    def name(self) -> str:
        """Name of the Deployment, without KServe's suffix for predictors."""
        return self.service if self.component == "predictor" else f"{self.service}-{self.component}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainSpec:
    """The chain that documents describe. Without a graph its only service takes the requests."""

    name: str
    workloads: tuple[Workload, ...]
    model_names: Mapping[str, str]  # model of each service, as in the graph's paths
    graph: Document | None  # an InferenceGraph's spec

    @property
    def model_name(self) -> str:
        """Name of the model in the chain's URL. A graph has no model of its own, and its router takes any path."""
        return self.model_names[self.name] if self.graph is None else self.name

    def front(self, service: str) -> Workload:
        """Find the component that a service's address leads to: the transformer if there is one."""
        components = {workload.component: workload for workload in self.workloads if workload.service == service}
        return components.get("transformer", components["predictor"])


def read_chain(path: Path) -> ChainSpec:
    """Read the chain of a YAML file, of a folder's files, or of the base of a kustomize tree.

    Raises:
        ManifestError: files that cannot be read, documents that KServe could not run, or more than one chain.
    """
    documents = read_with_files(path)
    try:
        _check_one_chain(path, documents)
        return chain_of([document for _, document in documents], path)
    except (AttributeError, KeyError, TypeError, ValueError) as exc:
        raise ManifestError(f"{path} holds an invalid document ({exc!r}): render it again") from exc


def _check_one_chain(path: Path, documents: Iterable[tuple[Path, Document]]) -> None:
    """Refuse a folder whose files hold several chains, and name the file of each."""
    graphs: dict[str, Path] = {}
    services: dict[str, Path] = {}
    members: set[str] = set()
    for file, document in documents:
        kind = document.get("kind")
        if kind == "InferenceGraph":
            graphs[_at(document, "metadata", "name")] = file
            members |= {step.get("serviceName", "") for _, step in _steps(_at(document, "spec"))}
        elif kind == "InferenceService":
            services[_at(document, "metadata", "name")] = file
    chains = graphs | {name: file for name, file in services.items() if name not in members}
    if len(set(chains.values())) > 1:
        listed = ", ".join(f"{name} ({file})" for name, file in sorted(chains.items()))
        raise ManifestError(
            f"{path} holds {len(chains)} chains, {listed}: choose one by its file, e.g. {min(chains.values())}"
        )


def chain_of(documents: Iterable[Document], where: Path) -> ChainSpec:
    """Find the chain in documents; `where` names their origin in errors.

    Raises:
        ManifestError: documents that KServe could not run, or that are not one chain.
    """
    kinds: dict[str, dict[str, Document]] = {kind: {} for kind in _KINDS}
    for document in documents:
        if document.get("kind") in kinds:
            kinds[document["kind"]][_at(document, "metadata", "name")] = document
    services, graphs = kinds["InferenceService"], kinds["InferenceGraph"]
    if not services:
        raise ManifestError(f"{where} holds no InferenceService: give the folder or file that `shardline render` wrote")
    if len(graphs) > 1 or (len(services) > 1 and not graphs):
        raise ManifestError(
            f"{where} holds {len(services)} InferenceServices and {len(graphs)} InferenceGraphs, "
            "which is not one chain: give the file of one chain"
        )
    workloads = [workload for service in services.values() for workload in _workloads(service, kinds["ServingRuntime"])]
    graph = next(iter(graphs.values()), None)
    if graph is not None:
        _check_steps(graph, services)
    return ChainSpec(
        name=next(iter(graphs or services)),
        workloads=tuple(workloads),
        model_names={name: model_name(Manifest(document=service)) for name, service in services.items()},
        graph=None if graph is None else graph["spec"],
    )


def with_urls(chain: ChainSpec, addresses: Mapping[str, str]) -> Document:
    """Resolve every serviceName of the graph's spec, as KServe's controller does for the router's --graph-json.

    `addresses` maps a service to 'http://host:port'. The path is that of the v1 protocol (pkg/constants PredictPath).
    """
    spec: dict[str, Any] = json.loads(json.dumps(chain.graph))
    for _, step in _steps(spec):
        if service := step.get("serviceName"):
            step["serviceUrl"] = f"{addresses[service]}/v1/models/{chain.model_names[service]}:predict"
    return spec


def _workloads(service: Document, runtimes: Mapping[str, Document]) -> list[Workload]:
    predictor = _at(service, "spec", "predictor")
    if predictor.get("containers"):  # a custom predictor
        workloads = [_workload(service, "predictor", predictor, _first_container(service, "predictor"), {})]
    else:
        model = _at(service, "spec", "predictor", "model")
        container = _merged(_runtime_container(service, runtimes), model)
        workloads = [_workload(service, "predictor", predictor, container, model)]
    if transformer := service["spec"].get("transformer"):
        container = _first_container(service, "transformer")
        workloads.append(_workload(service, "transformer", transformer, container, {}))
    return workloads


def _first_container(service: Document, component: str) -> Document:
    [container, *_] = _at(service, "spec", component, "containers") or [None]
    if not isinstance(container, dict):
        raise ManifestError(f"{_label(service)}: its {component} has no container")
    return container


def _runtime_container(service: Document, runtimes: Mapping[str, Document]) -> Document:
    name = _at(service, "spec", "predictor", "model", "runtime")
    if name not in runtimes:
        raise ManifestError(
            f"{_label(service)} names the runtime {name!r}, which is not among the documents: render them again"
        )
    for container in _at(runtimes[name], "spec", "containers"):
        if container.get("name") == "kserve-container":
            return _filled_in(container, service)
    raise ManifestError(f"{_label(runtimes[name])} has no container named kserve-container")


def _filled_in(container: Document, service: Document) -> Document:
    """Replace {{.Name}} and {{.Namespace}} in a runtime's container, as KServe does (ReplacePlaceholders)."""
    metadata = service["metadata"]
    text = json.dumps(container)
    text = text.replace("{{.Name}}", metadata["name"]).replace("{{.Namespace}}", metadata.get("namespace", "default"))
    if left := re.search(r"{{.*?}}", text):
        raise ManifestError(
            f"the ServingRuntime's placeholder {left[0]} is not supported here: use {{{{.Name}}}} or {{{{.Namespace}}}}"
        )
    filled: Document = json.loads(text)
    return filled


def _merged(runtime: Document, model: Document) -> Document:
    """Merge the service's `model` into the runtime's container: args and env are appended, other fields replaced."""
    taken = ("command", "readinessProbe", "startupProbe", "resources")
    return {
        **runtime,
        **{key: model[key] for key in taken if key in model},
        "args": [*runtime.get("args", ()), *model.get("args", ())],
        "env": [*runtime.get("env", ()), *model.get("env", ())],
    }


def _workload(service: Document, component: str, extension: Document, container: Document, model: Document) -> Workload:
    if not container.get("command"):
        raise ManifestError(
            f"{_label(service)}: its {component} has no command, and images cannot be run here: add one"
        )
    ready, startup = container.get("readinessProbe", {}), container.get("startupProbe", {})
    return Workload(
        service=service["metadata"]["name"],
        component=component,
        command=tuple(map(str, container["command"])),
        args=tuple(map(str, container.get("args", ()))),
        env={variable["name"]: str(variable["value"]) for variable in container.get("env", ()) if "value" in variable},
        ready_path=ready.get("httpGet", {}).get("path"),
        ready_period_s=float(ready.get("periodSeconds", 10)),
        startup_s=float(startup.get("periodSeconds", 10) * startup.get("failureThreshold", 60)),
        replicas=max(1, int(extension.get("minReplicas", 1))),
        storage_uri=model.get("storageUri"),
        cpus=_cpus(container.get("resources", {}).get("limits", {}).get("cpu")),
    )


def _cpus(limit: object) -> int | None:
    """A CPU limit in whole CPUs, rounded up: '1500m' -> 2."""
    if limit is None:
        return None
    cpus = parse_quantity(limit)
    if cpus is None:
        raise ManifestError(f"the CPU limit {limit!r} is not a quantity: write it as 500m or 2")
    return math.ceil(cpus)


def _check_steps(graph: Document, services: Mapping[str, Document]) -> None:
    _at(graph, "spec", "nodes", "root")
    for node, step in _steps(graph["spec"]):
        service = step.get("serviceName")
        if service is not None and service not in services:
            raise ManifestError(
                f"{_label(graph)}: node {node} has a step for the service {service!r}, which is not among the documents"
            )


def _steps(spec: Document) -> Iterator[tuple[str, dict[str, Any]]]:
    for node, router in spec["nodes"].items():
        yield from ((node, step) for step in router.get("steps") or ())


def _at(document: Document, *path: str) -> Any:
    """Look up document[path[0]][path[1]]…; a missing key is a ManifestError."""
    value: Any = document
    for depth, key in enumerate(path, start=1):
        if not isinstance(value, Mapping) or key not in value:
            raise ManifestError(f"{_label(document)} has no {'.'.join(path[:depth])}: render it again")
        value = value[key]
    return value


def _label(document: Document) -> str:
    metadata = document.get("metadata")
    name = metadata.get("name") if isinstance(metadata, Mapping) else None
    return f"{document.get('kind', 'a document')} {name or 'without a name'}"
