"""Replicas and autoscaling of each component: a fixed number, an HPA by CPU, KEDA by running requests, or Knative.

KServe creates the HorizontalPodAutoscaler or ScaledObject from fields of the InferenceService, which are rendered here.
"""

from dataclasses import dataclass

from shardline.client.labels import COMPONENT_LABEL, GRAPH_LABEL, SERVICE_LABEL, Document
from shardline.manifests.names import Names
from shardline.wire.errors import UsageError

AUTOSCALERS = ("none", "hpa", "keda")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaling:
    """Attributes:
    replicas: number of pods of each stage, the transformer and the router; with an autoscaler the minimum.
    autoscaler: 'none', 'hpa' or 'keda'.
    max_replicas: with an autoscaler, the maximum number of pods of each stage and the transformer.
    cpu_percent: CPU utilization, in percent of the request, that an HPA keeps.
    prometheus: URL of the Prometheus server that KEDA queries.
    requests_per_pod: number of running and waiting requests per pod that KEDA keeps. With 2, one request waits.
    """

    replicas: int = 1
    autoscaler: str = "none"
    max_replicas: int | None = None
    cpu_percent: int = 80
    prometheus: str | None = None
    requests_per_pod: int = 2

    def __post_init__(self) -> None:
        if self.replicas < 1:
            raise UsageError(f"{self.replicas} replicas cannot serve requests: give 1 or more")
        if self.autoscaler not in AUTOSCALERS:
            raise UsageError(f"{self.autoscaler!r} is not an autoscaler: choose {', '.join(AUTOSCALERS)}")
        if (self.autoscaler != "none") != (self.max_replicas is not None):
            raise UsageError("--autoscaler and --max-replicas belong together: give both or neither")
        if self.max_replicas is not None and self.max_replicas < self.replicas:
            raise UsageError(f"--max-replicas {self.max_replicas} is below --replicas {self.replicas}: raise it")
        if not 1 <= self.cpu_percent <= 100:
            raise UsageError(f"a CPU target of {self.cpu_percent} % is not allowed: KServe takes 1 to 100")
        if (self.autoscaler == "keda") != (self.prometheus is not None):
            raise UsageError("KEDA scales by a Prometheus metric: give --autoscaler keda and --prometheus URL together")
        if self.requests_per_pod < 1:
            raise UsageError(f"{self.requests_per_pod} requests per pod is below the minimum: give 1 or more")

    @property
    def most(self) -> int:
        """Largest number of pods of a component."""
        return self.max_replicas or self.replicas

    @property
    def annotations(self) -> Document:
        """Annotations of an InferenceService in Standard mode."""
        scraped = {"serving.kserve.io/enable-prometheus-scraping": "true"} if self.prometheus else {}
        return {"serving.kserve.io/autoscalerClass": self.autoscaler, **scraped}

    def fields(self, names: Names, service: str, component: str) -> Document:
        """Build the scaling fields of a component in Standard mode."""
        counts = {"minReplicas": self.replicas, "maxReplicas": self.most}
        match self.autoscaler:
            case "hpa":
                return counts | {"scaleMetric": "cpu", "scaleTarget": self.cpu_percent}
            case "keda":
                return counts | {"autoScaling": {"metrics": [self._running_requests(names, service, component)]}}
            case _:
                return counts

    def _running_requests(self, names: Names, service: str, component: str) -> Document:
        """Build KEDA's metric: seconds of prediction per second, which is the number of concurrent requests."""
        pods = f'namespace="{names.namespace}",pod=~"{service}-{component}-.+"'
        return {
            "type": "External",
            "external": {
                "metric": {
                    "backend": "prometheus",
                    "serverAddress": self.prometheus,
                    "query": f"sum(rate(request_predict_seconds_sum{{{pods}}}[1m]))",
                },
                "target": {"type": "Value", "value": str(self.requests_per_pod)},
            },
        }


def disruption_budgets(names: Names, scaling: Scaling) -> list[Document]:
    """Render the budgets that let one pod of a component be evicted at a time, e.g. when a node is drained.

    They set maxUnavailable, since minAvailable would block the drain of a node for ever if there is one replica. A
    component that never has a second pod gets no budget, which would protect nothing.
    """
    if scaling.most < 2:
        return []
    budgets = [
        _budget(names, f"{service}-{component}", {SERVICE_LABEL: service, COMPONENT_LABEL: component}, stage)
        for service, component, stage in names.components
    ]
    if names.graph and scaling.replicas > 1:
        budgets.append(_budget(names, f"{names.graph}-router", {GRAPH_LABEL: names.graph}))
    return budgets


def _budget(names: Names, name: str, selector: Document, stage: int | None = None) -> Document:
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": names.metadata(name, stage=stage),
        "spec": {"maxUnavailable": 1, "selector": {"matchLabels": selector}},
    }
