"""How many pods each component has: a fixed number, an HPA by CPU, KEDA by running requests, or Knative's own.

KServe makes the HorizontalPodAutoscaler or ScaledObject from an InferenceService's fields, so those are written here.
"""

from dataclasses import dataclass

from shardline.manifests.names import COMPONENT_LABEL, GRAPH_LABEL, SERVICE_LABEL, Document, Names
from shardline.wire.errors import ManifestError

AUTOSCALERS = ("none", "hpa", "keda")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaling:
    """Attributes:
    replicas: of each stage, the transformer and the router; the fewest where they are scaled.
    autoscaler: 'none', 'hpa' or 'keda'.
    max_replicas: of each stage and the transformer, where they are scaled.
    cpu_percent: of the CPU request, at which an HPA adds pods.
    prometheus: URL of the server that KEDA asks.
    requests_per_pod: running and waiting in a stage, at which KEDA adds pods. At two, one waits for the other.
    """

    replicas: int = 1
    autoscaler: str = "none"
    max_replicas: int | None = None
    cpu_percent: int = 80
    prometheus: str | None = None
    requests_per_pod: int = 2

    def __post_init__(self) -> None:
        if self.replicas < 1:
            raise ManifestError(f"{self.replicas} replicas cannot answer: give 1 or more")
        if self.autoscaler not in AUTOSCALERS:
            raise ManifestError(f"{self.autoscaler!r} is no autoscaler: one of {', '.join(AUTOSCALERS)}")
        if (self.autoscaler != "none") != (self.max_replicas is not None):
            raise ManifestError("an --autoscaler needs --max-replicas, and only an autoscaler has them")
        if self.max_replicas is not None and self.max_replicas < self.replicas:
            raise ManifestError(f"at most {self.max_replicas} replicas, but {self.replicas} at least: raise the first")
        if not 1 <= self.cpu_percent <= 100:
            raise ManifestError(f"a CPU target of {self.cpu_percent} % is not allowed: KServe takes 1 to 100")
        if (self.autoscaler == "keda") != (self.prometheus is not None):
            raise ManifestError("KEDA scales by what Prometheus counted: give --autoscaler keda and --prometheus URL")
        if self.requests_per_pod < 1:
            raise ManifestError(f"{self.requests_per_pod} requests per pod would never be enough pods: give 1 or more")

    @property
    def most(self) -> int:
        return self.max_replicas or self.replicas

    @property
    def annotations(self) -> Document:
        """Of an InferenceService in Standard mode."""
        scraped = {"serving.kserve.io/enable-prometheus-scraping": "true"} if self.prometheus else {}
        return {"serving.kserve.io/autoscalerClass": self.autoscaler, **scraped}

    def fields(self, names: Names, service: str, component: str) -> Document:
        """Of a component in Standard mode."""
        counts = {"minReplicas": self.replicas, "maxReplicas": self.most}
        match self.autoscaler:
            case "hpa":
                return counts | {"scaleMetric": "cpu", "scaleTarget": self.cpu_percent}
            case "keda":
                return counts | {"autoScaling": {"metrics": [self._running_requests(names, service, component)]}}
            case _:
                return counts

    def _running_requests(self, names: Names, service: str, component: str) -> Document:
        """Seconds spent predicting per second: how many requests are in the pods at once, by Little's law."""
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
    """One pod of a component at a time may be evicted, when a node is drained, say.

    maxUnavailable and not minAvailable, which for one replica would keep the node from ever being drained. For a
    component that never has a second pod a budget protects nothing, so there is none.
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
