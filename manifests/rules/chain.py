"""Lint rules for a chain as a whole: a graph against the services that its steps name."""

import re
from collections.abc import Iterator

from shardline.client.labels import MODE_ANNOTATION, PART_OF_LABEL
from shardline.manifests.rules.components import FRAMEWORKS, components, predictor, protocol, transformer
from shardline.manifests.rules.graph import ROOT, nodes, steps
from shardline.manifests.rules.rule import GRAPH, SERVICE, Finding, Manifest, Severity, key, rule

_DIGEST = "--bundle_digest"
_STAGE_URI = re.compile(r"/stages/(\d+)/?$")
_CONTROLLER = "controller.go Reconcile"
_ENDPOINT = "utils.go GetPredictorEndpoint"


def stages(graph: Manifest) -> Iterator[tuple[str, Manifest]]:
    """Iterate over the steps whose service is among the documents: path of the step, service."""
    for _, _, path, step in steps(graph):
        service = graph.find(SERVICE, step.get("serviceName", ""))
        if service is not None:
            yield path, service


@rule(GRAPH, source=_CONTROLLER, severity=Severity.WARNING)
def step_service(graph: Manifest) -> Iterator[Finding]:
    """The service of a step should be among the documents."""
    for _, _, path, step in steps(graph):
        name = step.get("serviceName")
        if name and not _everywhere(graph, name):
            yield f"{path}.serviceName", f"{name!r} is not among the documents: it must be in the cluster already"


@rule(GRAPH, source=_CONTROLLER)
def step_namespace(graph: Manifest) -> Iterator[Finding]:
    """The service of a step must be in the graph's namespace, the only one that KServe searches."""
    for _, _, path, step in steps(graph):
        name = step.get("serviceName")
        elsewhere = _everywhere(graph, name) if name else []
        if name and elsewhere and graph.find(SERVICE, name) is None:
            yield (
                f"{path}.serviceName",
                f"Failed to find graph service {name}: it is in namespace {elsewhere[0].namespace}, the graph in "
                f"{graph.namespace}; put them into one namespace",
            )


def _everywhere(graph: Manifest, name: str) -> list[Manifest]:
    return [document for document in graph.scope if document.kind == SERVICE and document.name == name]


@rule(GRAPH, source=_ENDPOINT)
def step_path(graph: Manifest) -> Iterator[Finding]:
    """The service of a step must speak v1 or v2; for other protocols KServe gives the router no path."""
    for path, service in stages(graph):
        found = protocol(service)
        if found not in ("v1", "v2"):
            yield (
                f"{path}.serviceName",
                f"{service.label} speaks {found}, for which KServe gives the router no path: set protocolVersion (a "
                "transformer's PROTOCOL) to v1 or v2",
            )


@rule(GRAPH, source="utils.go IsMMSPredictor")
def step_multi_model(graph: Manifest) -> Iterator[Finding]:
    """The service of a step must have a storageUri; without one KServe takes it for a multi-model server."""
    for path, service in stages(graph):
        if transformer(service) is None and _is_multi_model(service):
            yield (
                f"{path}.serviceName",
                f"{service.label} has no storageUri, so KServe takes it for a multi-model server and the router calls "
                "its path '/': add a storageUri",
            )


def _is_multi_model(service: Manifest) -> bool:
    """Decide as utils.go IsMMSPredictor does."""
    back = predictor(service)
    if back.containers:
        return back.containers[0].value("MULTI_MODEL_SERVER") == "true"
    model = back.framework
    if model is None or "huggingface" in back.spec or model.fields.get("modelFormat", {}).get("name") == "huggingface":
        return False
    stored = "storageUri" in model.fields or "storage" in model.fields or back.spec.get("storageUris")
    return not stored and any(name in back.spec for name in FRAMEWORKS)


@rule(GRAPH, source=_CONTROLLER)
def step_protocol(graph: Manifest) -> Iterator[Finding]:
    """The runtime of a step's model must support v1 or v2."""
    for path, service in stages(graph):
        model = predictor(service).framework
        runtime = service.find("ServingRuntime", model.fields.get("runtime", "")) if model else None
        allowed = runtime.spec.get("protocolVersions", ()) if runtime else ()
        if transformer(service) is None and allowed and not {"v1", "v2"} & set(allowed):
            yield (
                f"{path}.serviceName",
                "the runtime does not support a protocol compatible with Inference Graphs: "
                f"{runtime.label if runtime else ''} has {', '.join(allowed)}; add v1 or v2",
            )


@rule(GRAPH, source="ours")
def stage_order(graph: Manifest) -> Iterator[Finding]:
    """The steps of the root, if it is a sequence, must call all stages of a bundle, in their order."""
    for node, path, fields in nodes(graph):
        if node != ROOT or fields.get("routerType") != "Sequence":
            continue
        services = (graph.find(SERVICE, step.get("serviceName", "")) for step in fields.get("steps", ()))
        found = [stage for service in services if service is not None and (stage := _stage(service)) is not None]
        if found and found != list(range(len(found))):
            order = ", ".join(map(str, found))
            yield f"{path}.steps", f"node {node} calls the stages {order}: call each once, from 0 upwards"


@rule(GRAPH, source="ours")
def called_services(graph: Manifest) -> Iterator[Finding]:
    """A graph that calls a service of a bundle must call all of the chain's services of that bundle."""
    called = {service.name: set(_digests(service)) for _, service in stages(graph)}
    bundles = set().union(*called.values())
    missing = [
        service.name
        for service in graph.beside(SERVICE)
        if service.name not in called and _chain(service) == graph.name and bundles & set(_digests(service))
    ]
    if missing:
        yield "spec.nodes", f"no step calls {', '.join(missing)} of the same chain and bundle: add a step for each"


def _chain(service: Manifest) -> str:
    labels = service.metadata.get("labels")
    return str(labels.get(PART_OF_LABEL, "")) if isinstance(labels, dict) else ""


def _stage(service: Manifest) -> int | None:
    """Number of the stage that a service serves, from its storage URI; None for any other service."""
    model = predictor(service).framework
    match = _STAGE_URI.search(str(model.fields.get("storageUri", ""))) if model else None
    return int(match[1]) if match else None


@rule(GRAPH, source="ours")
def one_mode(graph: Manifest) -> Iterator[Finding]:
    """A graph and its services must have the same deployment mode."""
    for _, service in stages(graph):
        if None not in (graph.mode, service.mode) and graph.mode != service.mode:
            yield (
                key("metadata.annotations", MODE_ANNOTATION),
                f"found {graph.mode}, but {service.label} has {service.mode}: give both the same mode",
            )


@rule(GRAPH, source="ours")
def one_bundle(graph: Manifest) -> Iterator[Finding]:
    """All stages of a graph must belong to one bundle; otherwise they refuse each other's frames."""
    digests = {service.name: digest for _, service in stages(graph) for digest in _digests(service)}
    if len(set(digests.values())) > 1:
        found = ", ".join(f"{name} has {digest[:19]}…" for name, digest in digests.items())
        yield "spec.nodes", f"the stages belong to different bundles, {found}: render all of them from one bundle"


@rule(SERVICE, source="ours")
def one_bundle_in_service(service: Manifest) -> Iterator[Finding]:
    """Transformer and predictor of a service must belong to one bundle."""
    found = dict.fromkeys(_digests(service))
    if len(found) > 1:
        yield (
            "spec",
            f"the components belong to different bundles, {' and '.join(f'{digest[:19]}…' for digest in found)}: "
            "render them again",
        )


def _digests(service: Manifest) -> Iterator[str]:
    """Iterate over the values of `--bundle_digest` in a service's containers, given in either form."""
    for component in components(service):
        for container in component.everything:
            for index, arg in enumerate(container.args):
                if arg.startswith(f"{_DIGEST}="):
                    yield arg.removeprefix(f"{_DIGEST}=")
                elif arg == _DIGEST and index + 1 < len(container.args):
                    yield container.args[index + 1]
