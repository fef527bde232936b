"""Lint rules for autoscaling, which KServe's webhook checks differently for HPA, KEDA and Knative's autoscaler."""

from collections.abc import Iterator, Mapping
from typing import Any

from shardline.manifests.quantities import parse_quantity
from shardline.manifests.rules.components import Component, components
from shardline.manifests.rules.rule import GRAPH, SERVICE, Finding, Manifest, rule
from shardline.wire.limits import MIB

_SOURCE = "inference_service_validation.go"
_CLASS = "serving.kserve.io/autoscalerClass"
_KNATIVE_CLASS = "autoscaling.knative.dev/class"
_PERCENT = "the target utilization percentage should be a [1-100] integer"
_CPU_OR_MEMORY = ("cpu", "memory")


def _scaler(service: Manifest) -> str | None:
    """Find the autoscaler: hpa, keda or kpa; None if KServe checks nothing (validateAutoScalingCompExtension)."""
    if service.mode == "Standard":
        found = service.annotations.get(_CLASS)
        return found if found in ("hpa", "keda") else None
    return "hpa" if service.annotations.get(_KNATIVE_CLASS) == "hpa.autoscaling.knative.dev" else "kpa"


def _scaled_by(service: Manifest, *scalers: str) -> Iterator[Component]:
    return (component for component in components(service) if _scaler(service) in scalers)


def _metrics(component: Component) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for index, metric in enumerate(component.spec.get("autoScaling", {}).get("metrics", ())):
        yield f"{component.path}.autoScaling.metrics[{index}]", metric


@rule(SERVICE, source=_SOURCE)
def scale_metric(service: Manifest) -> Iterator[Finding]:
    """`scaleMetric` must be cpu or memory under HPA, concurrency or rps under Knative, and absent under KEDA."""
    for component in components(service):
        metric, path = component.spec.get("scaleMetric"), f"{component.path}.scaleMetric"
        scaler = _scaler(service)
        if metric is None:
            continue
        if scaler == "keda":
            yield path, "ScaleMetric is not supported for KEDA: write autoScaling.metrics"
        elif scaler == "hpa" and metric not in _CPU_OR_MEMORY:
            yield path, f"[{metric}] is not a supported metric: HPA takes cpu or memory"
        elif scaler == "kpa" and metric in _CPU_OR_MEMORY:
            yield path, f"[{metric}] is not a supported metric: Knative takes concurrency or rps"


@rule(SERVICE, GRAPH, source="hpa_reconciler.go")
def scale_metric_standard(manifest: Manifest) -> Iterator[Finding]:
    """In Standard mode nothing may scale by concurrency or rps, for which an HPA has no metrics."""
    found = [("spec", manifest.spec), *((component.path, component.spec) for component in components(manifest))]
    for path, spec in found:
        metric = spec.get("scaleMetric")
        written = manifest.annotations.get(_CLASS, "hpa") not in ("hpa", "keda") or _CLASS not in manifest.annotations
        if manifest.mode == "Standard" and metric in ("concurrency", "rps") and written:
            yield f"{path}.scaleMetric", f"found {metric!r}, allowed in Standard mode is cpu or memory"


@rule(SERVICE, source=_SOURCE)
def scale_target(service: Manifest) -> Iterator[Finding]:
    """`scaleTarget` must be 1 to 100 percent under HPA, and at least 1 request per second under Knative."""
    for component in _scaled_by(service, "hpa", "kpa"):
        target, path = component.spec.get("scaleTarget"), f"{component.path}.scaleTarget"
        metric = component.spec.get("scaleMetric", "cpu")
        if target is None:
            continue
        if _scaler(service) == "kpa":
            if metric == "rps" and target < 1:
                yield path, f"the target for rps should be greater than 1: found {target}"
        elif (metric == "cpu" and target < 1) or target > 100:  # KServe applies the 100 to memory, too
            yield path, f"{_PERCENT}: found {target}"
        elif metric == "memory" and target < 1:
            yield path, f"the target memory should be greater than 1 MiB: found {target}"


@rule(SERVICE, source=_SOURCE)
def hpa_metrics(service: Manifest) -> Iterator[Finding]:
    """Under HPA `autoScaling.metrics` must be Resource metrics, each with its resource."""
    for component in _scaled_by(service, "hpa"):
        for path, metric in _metrics(component):
            kind = metric.get("type", "")
            if kind != "Resource":
                message = f"invalid HPA metric source type with value [{kind}],valid metric source types are Resource"
                yield f"{path}.type", f"{message}: change it, or the autoscalerClass to keda"
            elif "resource" not in metric:
                yield path, "metricSpec.Resource is not set for resource metric source type: add it"


@rule(SERVICE, source=_SOURCE)
def keda_metrics(service: Manifest) -> Iterator[Finding]:
    """Under KEDA each of `autoScaling.metrics` must have a source of its type, with a query and a target."""
    for component in _scaled_by(service, "keda"):
        for path, metric in _metrics(component):
            match metric.get("type"):
                case "Resource":
                    yield from _keda_resource(path, metric)
                case "External":
                    yield from _keda_query(path, metric, "external", "External")
                case "PodMetric":
                    yield from _keda_query(path, metric, "podmetric", "PodMetric")


def _keda_resource(path: str, metric: Mapping[str, Any]) -> Iterator[Finding]:
    resource = metric.get("resource")
    if resource is None:
        yield path, "metricSpec.Resource is not set for resource metric source type: add it"
        return
    target = resource.get("target", {})
    kind, here = target.get("type"), f"{path}.resource.target"
    if resource.get("name") == "cpu" and kind != "Utilization":
        yield here, f"the cpu target value type should be Utilization: found {kind}"
    if resource.get("name") == "memory" and kind not in ("AverageValue", "Utilization"):
        yield here, f"the memory target value type should be AverageValue or Utilization: found {kind}"
    average = parse_quantity(target.get("averageValue"))
    if resource.get("name") == "memory" and kind == "AverageValue" and average is not None and average < MIB:
        yield here, f"the memory target value should be greater than 1 MiB: found {target['averageValue']}"
    yield from _target(here, target)


def _keda_query(path: str, metric: Mapping[str, Any], name: str, kind: str) -> Iterator[Finding]:
    source = metric.get(name)
    if source is None:
        yield path, f"metricSpec.{kind} is not set for {kind.lower()} metric source type: add {name}"
        return
    if not source.get("metric", {}).get("query"):
        yield f"{path}.{name}.metric.query", "the query should not be empty: add it"
    if "value" not in source.get("target", {}):
        yield f"{path}.{name}.target.value", "the target threshold value should not be empty: add it"
    yield from _target(f"{path}.{name}.target", source.get("target", {}))


def _target(path: str, target: Mapping[str, Any]) -> Iterator[Finding]:
    fields = {"Utilization": "averageUtilization", "AverageValue": "averageValue"}
    kind = target.get("type", "")
    needed = fields.get(kind)
    if needed and needed not in target:
        yield f"{path}.{needed}", f"the {needed[0].upper()}{needed[1:]} type should be set: add it"
    elif kind == "Utilization" and not 1 <= target["averageUtilization"] <= 100:
        yield f"{path}.{needed}", f"{_PERCENT}: found {target['averageUtilization']}"


@rule(SERVICE, source=_SOURCE)
def deployment_strategy(service: Manifest) -> Iterator[Finding]:
    """`deploymentStrategy` is allowed only if the annotation deploymentMode is Standard."""
    for component in _scaled_by(service, "kpa"):
        if "deploymentStrategy" in component.spec:
            yield (
                f"{component.path}.deploymentStrategy",
                "customizing deploymentStrategy is only supported for raw deployment mode: annotate the service with "
                "serving.kserve.io/deploymentMode: Standard, or remove it",
            )
