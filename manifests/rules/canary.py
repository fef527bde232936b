"""What KServe's webhook asks of an InferenceService's `canary` list."""

from collections.abc import Iterator, Mapping
from typing import Any

from shardline.manifests.rules.components import Component, predictor
from shardline.manifests.rules.manifest import Manifest
from shardline.manifests.rules.rule import SERVICE, Finding, rule

_SOURCE = "inference_service_validation.go validateCanarySpecs"
_FIXED = ("maxReplicas", "scaleTarget", "scaleMetric", "autoScaling")


def _canaries(service: Manifest) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Path, name and fields of each."""
    for index, each in enumerate(service.spec.get("canary", ())):
        yield f"spec.canary[{index}]", each.get("predictor", {}).get("name", ""), each


@rule(SERVICE, source=_SOURCE)
def canary_mode(service: Manifest) -> Iterator[Finding]:
    """`canary` needs Standard mode, and a stable predictor with a model."""
    if not service.spec.get("canary"):
        return
    if service.mode != "Standard":
        yield "spec.canary", "canary is only supported in Standard deployment mode: annotate the service with it"
    stable = predictor(service)
    if "model" not in stable.spec and stable.storage_uri is None:
        yield "spec.canary", "canary requires a stable predictor with a model: give the predictor one"


@rule(SERVICE, source=_SOURCE)
def canary_name(service: Manifest) -> Iterator[Finding]:
    """Each canary's predictor has a name of its own."""
    taken = {predictor(service).spec.get("name", ""): "conflicts with stable predictor name"}
    for index, (path, name, _) in enumerate(_canaries(service)):
        here = f"{path}.predictor.name"
        if not name:
            yield here, f"canary[{index}] predictor.name is required: add it"
        elif name in taken:
            yield here, f'canary predictor.name "{name}" {taken[name]}: choose another'
        taken[name] = "is duplicated"


@rule(SERVICE, source=_SOURCE)
def canary_traffic(service: Manifest) -> Iterator[Finding]:
    """Canaries get 0 to 100 percent of the traffic, together at most 100."""
    percents = []
    for path, name, each in _canaries(service):
        percent = each.get("trafficPercent", 0)
        percents.append(percent)
        if not 0 <= percent <= 100:
            message = f'canary "{name}" trafficPercent must be between 0 and 100, got {percent}'
            yield f"{path}.trafficPercent", message
    if sum(percents) > 100:
        yield "spec.canary", f"sum of canary trafficPercent values ({sum(percents)}) must be <= 100"


@rule(SERVICE, source=_SOURCE)
def canary_predictor(service: Manifest) -> Iterator[Finding]:
    """A canary's predictor has one implementation, no workers, and as many replicas as are written, no scaling."""
    most = predictor(service).spec.get("minReplicas", 1)
    for path, name, each in _canaries(service):
        here, spec = f"{path}.predictor", each.get("predictor", {})
        if Component(name="predictor", spec=spec).implementations != 1:
            yield here, f'canary "{name}" predictor: exactly one implementation must be specified: give it a model'
        if "workerSpec" in spec:
            yield f"{here}.workerSpec", f'canary "{name}" must not set workerSpec: remove it'
        for field in _FIXED:
            if spec.get(field):
                yield f"{here}.{field}", f'canary "{name}" must not set {field} (canary uses fixed replicas): remove it'
        if spec.get("minReplicas", 0) > most:
            yield (
                f"{here}.minReplicas",
                f'canary "{name}" minReplicas ({spec["minReplicas"]}) must not exceed stable predictor minReplicas '
                f"({most})",
            )
