"""Replicas, autoscalers and disruption budgets."""

import re
from collections.abc import Callable
from typing import Any

import pytest

from shardline.manifests.network import Network
from shardline.manifests.options import RenderOptions
from shardline.manifests.render import render
from shardline.manifests.scaling import Scaling
from shardline.storage.bundle import Bundle
from shardline.wire.errors import UsageError

KEDA = Scaling(autoscaler="keda", replicas=2, max_replicas=6, prometheus="http://prometheus.monitoring:9090")


def rendered(bundle: Bundle, scaling: Scaling) -> list[dict[str, Any]]:
    network = Network(allow_namespaces=("monitoring",))
    return render(
        bundle,
        RenderOptions(
            transformer_as="component", storage="gs://b/m", namespace="prod", scaling=scaling, network=network
        ),
    )


def of_kind(documents: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [document for document in documents if document["kind"] == kind]


def test_replicas_are_fixed_unless_an_autoscaler_is_wanted(make_bundle: Callable[..., Bundle]) -> None:
    written = rendered(make_bundle(), Scaling(replicas=2))
    counted = [part for document in of_kind(written, "InferenceService") for part in document["spec"].values()]
    counted += [document["spec"] for document in of_kind(written, "InferenceGraph")]

    assert {(part["minReplicas"], part["maxReplicas"]) for part in counted} == {(2, 2)}
    for document in of_kind(written, "InferenceService") + of_kind(written, "InferenceGraph"):
        assert document["metadata"]["annotations"]["serving.kserve.io/autoscalerClass"] == "none"


def test_an_hpa_by_cpu_for_stages_and_transformer_but_not_the_router(make_bundle: Callable[..., Bundle]) -> None:
    written = rendered(make_bundle(), Scaling(autoscaler="hpa", max_replicas=4, cpu_percent=60))

    for service in of_kind(written, "InferenceService"):
        assert service["metadata"]["annotations"]["serving.kserve.io/autoscalerClass"] == "hpa"
        for part in service["spec"].values():
            assert (part["minReplicas"], part["maxReplicas"]) == (1, 4)
            assert (part["scaleMetric"], part["scaleTarget"]) == ("cpu", 60)
    [graph] = of_kind(written, "InferenceGraph")
    assert graph["metadata"]["annotations"]["serving.kserve.io/autoscalerClass"] == "none"
    assert (graph["spec"]["minReplicas"], graph["spec"]["maxReplicas"]) == (1, 1)


def test_keda_counts_each_components_own_requests(make_bundle: Callable[..., Bundle]) -> None:
    written = rendered(make_bundle(stages=2), KEDA)
    queries = {}
    for service in of_kind(written, "InferenceService"):
        assert service["metadata"]["annotations"]["serving.kserve.io/autoscalerClass"] == "keda"
        assert service["metadata"]["annotations"]["serving.kserve.io/enable-prometheus-scraping"] == "true"
        for kind, part in service["spec"].items():
            [metric] = part["autoScaling"]["metrics"]
            assert metric["external"]["metric"]["serverAddress"] == "http://prometheus.monitoring:9090"
            assert metric["external"]["target"] == {"type": "Value", "value": "2"}
            assert "scaleMetric" not in part  # "ScaleMetric is not supported for KEDA"
            queries[f"{service['metadata']['name']}-{kind}"] = metric["external"]["metric"]["query"]

    assert queries == {
        name: f'sum(rate(request_predict_seconds_sum{{namespace="prod",pod=~"{name}-.+"}}[1m]))'
        for name in ("resnet50-0-predictor", "resnet50-0-transformer", "resnet50-1-predictor")
    }


def test_the_metric_that_keda_asks_for_is_one_that_kserves_server_has() -> None:
    from kserve.metrics import PREDICT_HIST_TIME

    assert f"{PREDICT_HIST_TIME.describe()[0].name}_sum" == "request_predict_seconds_sum"


@pytest.mark.parametrize(
    ("scaling", "routers"), [(Scaling(replicas=2), 1), (Scaling(autoscaler="hpa", max_replicas=2), 0), (KEDA, 1)]
)
def test_components_with_several_pods_lose_one_at_a_time(
    make_bundle: Callable[..., Bundle], scaling: Scaling, routers: int
) -> None:
    budgets = of_kind(rendered(make_bundle(stages=2), scaling), "PodDisruptionBudget")

    assert {budget["spec"]["maxUnavailable"] for budget in budgets} == {1}
    selected = [budget["spec"]["selector"]["matchLabels"] for budget in budgets]
    label = "serving.kserve.io/inferenceservice"
    assert selected == [
        {label: "resnet50-0", "component": "predictor"},
        {label: "resnet50-0", "component": "transformer"},
        {label: "resnet50-1", "component": "predictor"},
        *[{"serving.kserve.io/inferencegraph": "resnet50"}] * routers,
    ]


def test_a_single_pod_has_no_budget(make_bundle: Callable[..., Bundle]) -> None:
    assert of_kind(rendered(make_bundle(), Scaling()), "PodDisruptionBudget") == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"replicas": 0}, "0 replicas cannot serve requests"),
        ({"autoscaler": "vpa", "max_replicas": 2}, "'vpa' is not an autoscaler: choose none, hpa, keda"),
        ({"autoscaler": "hpa"}, "--autoscaler and --max-replicas belong together"),
        ({"max_replicas": 2}, "give both or neither"),
        ({"autoscaler": "hpa", "replicas": 3, "max_replicas": 2}, "--max-replicas 2 is below --replicas 3"),
        ({"autoscaler": "hpa", "max_replicas": 2, "cpu_percent": 101}, "a CPU target of 101 % is not allowed"),
        ({"autoscaler": "keda", "max_replicas": 2}, "give --autoscaler keda and --prometheus URL together"),
        ({"autoscaler": "hpa", "max_replicas": 2, "prometheus": "http://p"}, "KEDA scales by a Prometheus metric"),
        ({"requests_per_pod": 0}, "0 requests per pod is below the minimum"),
    ],
)
def test_what_cannot_be_scaled_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        Scaling(**options)
