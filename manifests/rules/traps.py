"""What no webhook refuses and what then does not run: containers, resources and arguments of an InferenceService."""

from collections.abc import Iterator

from shardline.manifests.quantities import parse_quantity
from shardline.manifests.rules.components import (
    CONTAINER,
    components,
    model_name,
    predictor,
    transformer,
)
from shardline.manifests.rules.rule import SERVICE, Container, Document, Finding, Manifest, Severity, containers, rule

_DEFAULT = "KServe's default of 2Gi"


@rule(SERVICE, source="predictor_custom.go")
def container_name(service: Manifest) -> Iterator[Finding]:
    """Of several containers of a predictor the first is `kserve-container`."""
    custom = predictor(service)
    names = [each.name for each in custom.containers]
    if custom.framework is None and len(names) > 1 and names[0] and names[0] != CONTAINER:
        yield (
            f"{custom.path}.containers[0].name",
            f"found {names[0]!r}, allowed is {CONTAINER!r}: KServe's controller puts that one in the first's place, "
            "or fails where there is none; put it first",
        )


@rule(SERVICE, source="Kubernetes")
def container_names(service: Manifest) -> Iterator[Finding]:
    """The names of a pod's containers differ."""
    for component in components(service):
        names = [each.name for each in component.containers]
        for container in component.containers:
            if container.name and names.count(container.name) > 1:
                yield f"{container.path}.name", f"found {container.name!r} more than once: rename one"


@rule(SERVICE, source="inference_service_defaults.go setResourceRequirementDefaults", severity=Severity.WARNING)
def memory_limit(service: Manifest) -> Iterator[Finding]:
    """A container of one's own has a memory limit: KServe's default is 2Gi, whatever the model takes."""
    for component in components(service):
        if component.framework is None and component.containers:
            yield from _limit(component.containers[0], f"it gets {_DEFAULT}")


@rule(SERVICE, source="ours", severity=Severity.WARNING)
def model_memory_limit(service: Manifest) -> Iterator[Finding]:
    """A `model` has a memory limit, here or in its runtime: without one it may take the whole node's."""
    model = predictor(service).framework
    if model is None:
        return
    runtime = service.find("ServingRuntime", model.fields.get("runtime", ""))
    inherited = [each for each in (runtime.spec.get("containers", ()) if runtime else ()) if _memory(each)]
    if not inherited:
        yield from _limit(model, "it has none")


def _limit(container: Container, otherwise: str) -> Iterator[Finding]:
    if not _memory(container.fields):
        yield f"{container.path}.resources.limits.memory", f"found none, so {otherwise}: write what the plan says"


def _memory(fields: Document) -> bool:
    return "memory" in fields.get("resources", {}).get("limits", {})


@rule(SERVICE, source="Kubernetes")
def request_over_limit(service: Manifest) -> Iterator[Finding]:
    """No container requests more than its limit."""
    for component in components(service):
        for container in component.everything:
            resources = container.fields.get("resources", {})
            limits = resources.get("limits", {})
            for name, request in resources.get("requests", {}).items():
                asked, most = parse_quantity(request), parse_quantity(limits.get(name))
                if asked is not None and most is not None and asked > most:
                    path = f"{container.path}.resources.requests.{name}"
                    yield path, f"found {request}, allowed is at most the limit, {limits[name]}"


@rule(SERVICE, source="transformer_custom.go GetContainer")
def transformer_concurrency(service: Manifest) -> Iterator[Finding]:
    """A transformer has no `containerConcurrency`: it becomes `--workers`, and workers answer 501."""
    front = transformer(service)
    if front is None or "containerConcurrency" not in front.spec:
        return
    args = [arg for each in front.containers[:1] for arg in each.args]
    if not any(arg.startswith("--workers") for arg in args):
        yield (
            f"{front.path}.containerConcurrency",
            f"found {front.spec['containerConcurrency']}, which KServe passes on as --workers: processes that answer "
            "501 'Could not find PredictorConfig'; remove it",
        )


@rule(SERVICE, source="utils.go GetModelName")
def one_model_name(service: Manifest) -> Iterator[Finding]:
    """Transformer and predictor have the same `--model_name`, or neither has one."""
    front = transformer(service)
    if front is None or not front.containers:
        return
    own = _named(front.containers[0].args) or service.name  # which KServe's controller adds
    asked = model_name(service)
    theirs = _predictors_name(service) or asked
    if not own == theirs == asked:
        yield (
            f"{front.containers[0].path}.args",
            f"the transformer serves {own!r}, the predictor {theirs!r}, a graph asks for {asked!r}: give both the same "
            "--model_name, or neither one",
        )


def _predictors_name(service: Manifest) -> str | None:
    """By which the predictor knows its model, as far as args tell: the model's own come after its runtime's."""
    back = predictor(service)
    if back.framework is None:
        return _named(back.containers[0].args) if back.containers else None
    runtime = service.find("ServingRuntime", back.framework.fields.get("runtime", ""))
    inherited = [arg for each in containers(runtime.spec if runtime else {}, "spec") for arg in each.args]
    name = _named([*inherited, *back.framework.args])
    return name.replace("{{.Name}}", service.name) if name else None


def _named(args: list[str]) -> str | None:
    """`--model_name` as a server reads it; KServe's controller reads it differently (components.named_in)."""
    return _option(args, "--model_name")


def _option(args: list[str], option: str) -> str | None:
    """The last value of an option, in either form."""
    value = None
    for index, arg in enumerate(args):
        if arg == option and index + 1 < len(args):
            value = args[index + 1]
        elif arg.startswith(f"{option}="):
            value = arg.removeprefix(f"{option}=")
    return value


@rule(SERVICE, source="utils.go getModelNameFromArgs")
def model_name_argument(service: Manifest) -> Iterator[Finding]:
    """`--model_name=X` is last or followed by another option: KServe takes the word behind it for the name."""
    for component in components(service):
        for container in [*component.containers[:1], *([component.framework] if component.framework else [])]:
            for index, arg in enumerate(container.args):
                after = container.args[index + 1 : index + 2]
                if arg.startswith("--model_name=") and (
                    arg.count("=") > 1 or (after and not after[0].startswith("--"))
                ):
                    yield (
                        f"{container.path}.args[{index}]",
                        f"found {arg!r}, of which KServe's controller reads another name: write '--model_name' and the "
                        "name as two arguments",
                    )


@rule(SERVICE, source="pkg/batcher/handler.go", severity=Severity.WARNING)
def batcher(service: Manifest) -> Iterator[Finding]:
    """No component has KServe's batcher: it drops all but JSON instances, and answers errors with 200."""
    for component in components(service):
        if "batcher" in component.spec:
            yield f"{component.path}.batcher", "KServe's batcher takes no frames and answers errors with 200: remove it"
