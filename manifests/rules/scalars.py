"""Validation of single values as Kubernetes decodes them: numbers, quantities, base64, enumerations."""

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from datetime import date
from typing import Any

from shardline.manifests.quantities import parse_quantity

_INT64 = range(-(2**63), 2**63)
_SHOWN = 80  # characters

# fields that are an IntOrString in Kubernetes, and 'object' in the models
_INT_OR_STRING = {"port", "targetPort", "maxSurge", "maxUnavailable", "minAvailable"}
# fields that are quantities in Kubernetes, and strings in the models
_QUANTITY_FIELDS = {"limits", "requests", "overhead", "sizeLimit", "capacity", "hard"}


def type_of(name: str, declared: str) -> str:
    """Refine the declared type of a field: some strings and objects of the models have a type of their own."""
    if name in _INT_OR_STRING and declared == "object":
        return "IntOrString"
    if name in _QUANTITY_FIELDS:
        return re.sub(r"\bstr\b(?!,)", "Quantity", declared)
    return {"ResourceQuantity": "Quantity", "V1beta1MetricQuantity": "Quantity"}.get(declared, declared)


def mistake(value: Any, type_name: str) -> str | None:
    """Describe the mistake in a value of a type, as 'found …, allowed is …'; None if it is valid."""
    if type_name not in _TYPES:
        return None
    valid, allowed = _TYPES[type_name]
    return None if valid(value) else f"found {shown(value)}, allowed is {allowed}"


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value in _INT64


def _is_base64(value: Any) -> bool:
    try:
        return isinstance(value, str | bytes) and base64.b64decode(value, validate=True) is not None
    except (binascii.Error, ValueError):
        return False


# type -> (check, what is allowed)
_TYPES: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "str": (lambda value: isinstance(value, str), "text: put it in quotes"),
    "int": (_is_int, "a whole number"),
    "float": (lambda value: _is_int(value) or isinstance(value, float), "a number"),
    "bool": (lambda value: isinstance(value, bool), "true or false"),
    "datetime": (lambda value: isinstance(value, str | date), "a time such as 2026-01-01T00:00:00Z"),
    "bytes": (_is_base64, "base64; stringData takes plain text"),
    "IntOrString": (lambda value: _is_int(value) or isinstance(value, str), "a whole number or text"),
    "Quantity": (lambda value: parse_quantity(value) is not None, "a quantity such as 500m, 2 or 1536Mi"),
}


def shown(value: Any) -> str:
    """Print a value for a message, in one short line."""
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    if value is None or isinstance(value, bool):
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, int) and value not in _INT64:
        return "a number over 64 bits"
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


_SCALE_METRICS = ("cpu", "memory", "concurrency", "rps")
_TARGETS = ("Utilization", "Value", "AverageValue")
_COMPONENTS = (
    "V1beta1PredictorSpec",
    "V1beta1TransformerSpec",
    "V1beta1ExplainerSpec",
    "V1beta1ComponentExtensionSpec",
)

# Enumerations that the typed models leave out: KServe's are in its CRDs (config/crd/full), Kubernetes' in its API
# reference. model.field -> allowed values
ENUMS: Mapping[str, tuple[str, ...]] = {
    "V1alpha1InferenceRouter.routerType": ("Sequence", "Splitter", "Ensemble", "Switch"),
    "V1alpha1InferenceStep.dependency": ("Soft", "Hard"),
    "V1alpha1InferenceGraphSpec.scaleMetric": _SCALE_METRICS,
    **{f"{component}.scaleMetric": _SCALE_METRICS for component in _COMPONENTS},
    **{f"{component}.scaleMetricType": _TARGETS for component in _COMPONENTS},
    "V1beta1MetricTarget.type": _TARGETS,
    "V1beta1MetricsSpec.type": ("Resource", "External", "PodMetric"),
    "V1beta1ResourceMetricSource.name": ("cpu", "memory"),
    "V1beta1ExternalMetrics.backend": ("prometheus", "graphite"),
    "V1beta1PodMetrics.backend": ("opentelemetry",),
    "V1beta1LoggerSpec.mode": ("all", "request", "response"),
    "V1alpha1StorageContainerSpec.workloadType": ("initContainer", "localModelDownloadJob"),
    "V1Container.imagePullPolicy": ("Always", "Never", "IfNotPresent"),
    "V1beta1ModelSpec.imagePullPolicy": ("Always", "Never", "IfNotPresent"),
    "V1Container.terminationMessagePolicy": ("File", "FallbackToLogsOnError"),
    "V1ContainerPort.protocol": ("TCP", "UDP", "SCTP"),
    "V1ServicePort.protocol": ("TCP", "UDP", "SCTP"),
    "V1NetworkPolicyPort.protocol": ("TCP", "UDP", "SCTP"),
    "V1HTTPGetAction.scheme": ("HTTP", "HTTPS"),
    "V1SeccompProfile.type": ("RuntimeDefault", "Unconfined", "Localhost"),
    "V1Toleration.operator": ("Exists", "Equal", "Lt", "Gt"),
    "V1Toleration.effect": ("NoSchedule", "PreferNoSchedule", "NoExecute"),
    "V1TopologySpreadConstraint.whenUnsatisfiable": ("DoNotSchedule", "ScheduleAnyway"),
    "V1DeploymentStrategy.type": ("Recreate", "RollingUpdate"),
    "V1HTTPIngressPath.pathType": ("Exact", "Prefix", "ImplementationSpecific"),
    "V1PodDisruptionBudgetSpec.unhealthyPodEvictionPolicy": ("IfHealthyBudget", "AlwaysAllow"),
    "V1NodeSelectorRequirement.operator": ("In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"),
    "V1LabelSelectorRequirement.operator": ("In", "NotIn", "Exists", "DoesNotExist"),
    "V2MetricSpec.type": ("ContainerResource", "External", "Object", "Pods", "Resource"),
    "V2MetricTarget.type": _TARGETS,
    "V2HPAScalingRules.selectPolicy": ("Max", "Min", "Disabled"),
    "V2HPAScalingPolicy.type": ("Pods", "Percent"),
}
