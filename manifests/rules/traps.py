"""Lint rules for known traps: containers, resources and arguments that every webhook accepts and that then fail."""

from collections.abc import Iterator

from shardline.client.labels import Document
from shardline.manifests.quantities import parse_quantity
from shardline.manifests.rules.components import (
    CONTAINER,
    components,
    model_name,
    predictor,
    transformer,
)
from shardline.manifests.rules.rule import SERVICE, Container, Finding, Manifest, Severity, containers, key, rule

_DEFAULT = "KServe's default of 2Gi"


@rule(SERVICE, source="predictor_custom.go")
def container_name(service: Manifest) -> Iterator[Finding]:
    """The first of several containers of a predictor must be `kserve-container`."""
    custom = predictor(service)
    names = [container.name for container in custom.containers]
    if custom.framework is None and len(names) > 1 and names[0] and names[0] != CONTAINER:
        yield (
            f"{custom.path}.containers[0].name",
            f"found {names[0]!r}, allowed is {CONTAINER!r}: KServe's controller replaces the first container by that "
            "one, or fails without one; put it first",
        )


@rule(SERVICE, source="Kubernetes")
def container_names(service: Manifest) -> Iterator[Finding]:
    """The names of a pod's containers must differ."""
    for component in components(service):
        names = [container.name for container in component.containers]
        for container in component.containers:
            if container.name and names.count(container.name) > 1:
                yield f"{container.path}.name", f"found {container.name!r} more than once: rename one"


@rule(SERVICE, source="Kubernetes")
def whole_devices(service: Manifest) -> Iterator[Finding]:
    """Extended resources such as `nvidia.com/gpu` must be whole numbers."""
    for component in components(service):
        for container in component.everything:
            for group, amounts in container.fields.get("resources", {}).items():
                for name, amount in amounts.items() if isinstance(amounts, dict) else ():
                    if "/" in name and not str(amount).isdecimal():
                        here = key(f"{container.path}.resources.{group}", name)
                        yield here, f"found {str(amount)!r}, allowed is a whole number of devices"


@rule(SERVICE, source="inference_service_defaults.go setResourceRequirementDefaults", severity=Severity.WARNING)
def memory_limit(service: Manifest) -> Iterator[Finding]:
    """A custom container should have a memory limit, since KServe's default is 2Gi for any model."""
    for component in components(service):
        if component.framework is None and component.containers:
            yield from _limit(component.containers[0], f"it gets {_DEFAULT}")


@rule(SERVICE, source="ours", severity=Severity.WARNING)
def model_memory_limit(service: Manifest) -> Iterator[Finding]:
    """A `model` should have a memory limit, here or in its runtime, or it may use all memory of a node."""
    model = predictor(service).framework
    if model is None:
        return
    runtime = service.find("ServingRuntime", model.fields.get("runtime", ""))
    containers_of = runtime.spec.get("containers", ()) if runtime else ()
    inherited = [container for container in containers_of if _memory(container)]
    if not inherited:
        yield from _limit(model, "it has none")


def _limit(container: Container, otherwise: str) -> Iterator[Finding]:
    if not _memory(container.fields):
        yield (
            f"{container.path}.resources.limits.memory",
            f"found none, so {otherwise}: write the size that `shardline render` computes",
        )


def _memory(fields: Document) -> bool:
    return "memory" in fields.get("resources", {}).get("limits", {})


@rule(SERVICE, source="Kubernetes")
def request_over_limit(service: Manifest) -> Iterator[Finding]:
    """A container's requests must not exceed its limits."""
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
    """A transformer must not have `containerConcurrency`, which becomes `--workers`, with which requests get a 501."""
    front = transformer(service)
    if front is None or "containerConcurrency" not in front.spec:
        return
    args = [arg for container in front.containers[:1] for arg in container.args]
    if not any(arg.startswith("--workers") for arg in args):
        yield (
            f"{front.path}.containerConcurrency",
            f"found {front.spec['containerConcurrency']}, which KServe passes on as --workers, and workers reply with "
            "501 'Could not find PredictorConfig'; remove it",
        )


@rule(SERVICE, source="utils.go GetModelName")
def one_model_name(service: Manifest) -> Iterator[Finding]:
    """Transformer and predictor must have the same `--model_name`, or neither may have one."""
    front = transformer(service)
    if front is None or not front.containers:
        return
    own = _named(front.containers[0].args) or service.name  # which KServe's controller adds
    asked = model_name(service)
    theirs = _predictors_name(service) or asked
    if not own == theirs == asked:
        yield (
            f"{front.containers[0].path}.args",
            f"the transformer serves {own!r}, the predictor {theirs!r}, a graph calls {asked!r}: give both the same "
            "--model_name, or neither one",
        )


def _predictors_name(service: Manifest) -> str | None:
    """Find the predictor's name for its model in its args; the model's own follow its runtime's."""
    back = predictor(service)
    if back.framework is None:
        return _named(back.containers[0].args) if back.containers else None
    runtime = service.find("ServingRuntime", back.framework.fields.get("runtime", ""))
    inherited = [arg for container in containers(runtime.spec if runtime else {}, "spec") for arg in container.args]
    name = _named([*inherited, *back.framework.args])
    return name.replace("{{.Name}}", service.name) if name else None


def _named(args: list[str]) -> str | None:
    """Read `--model_name` as a server does; KServe's controller reads it differently (components.named_in)."""
    return _option(args, "--model_name")


def _option(args: list[str], option: str) -> str | None:
    """Find the last value of an option, given in either form."""
    value = None
    for index, arg in enumerate(args):
        if arg == option and index + 1 < len(args):
            value = args[index + 1]
        elif arg.startswith(f"{option}="):
            value = arg.removeprefix(f"{option}=")
    return value


@rule(SERVICE, source="utils.go getModelNameFromArgs")
def model_name_argument(service: Manifest) -> Iterator[Finding]:
    """`--model_name=X` must be last or followed by an option, since KServe reads the next word as the name."""
    for component in components(service):
        for container in [*component.containers[:1], *([component.framework] if component.framework else [])]:
            for index, arg in enumerate(container.args):
                after = container.args[index + 1 : index + 2]
                if arg.startswith("--model_name=") and (
                    arg.count("=") > 1 or (after and not after[0].startswith("--"))
                ):
                    yield (
                        f"{container.path}.args[{index}]",
                        f"found {arg!r}, from which KServe's controller reads another name: write '--model_name' and "
                        "the name as two arguments",
                    )


@rule(SERVICE, source="pkg/batcher/handler.go", severity=Severity.WARNING)
def batcher(service: Manifest) -> Iterator[Finding]:
    """A component should not use KServe's batcher, which drops frames and replies to errors with 200."""
    for component in components(service):
        if "batcher" in component.spec:
            yield f"{component.path}.batcher", "KServe's batcher drops frames and replies to errors with 200: remove it"
