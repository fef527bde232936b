"""Where pods run, and how they are replaced there."""

import re
from collections.abc import Callable
from typing import Any

import pytest

from shardline.manifests.options import RenderOptions
from shardline.manifests.placement import Placement, Toleration, parse_node_selector, parse_toleration
from shardline.manifests.render import render
from shardline.storage.bundle import Bundle
from shardline.wire.errors import UsageError


def specs(rendered: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [document["spec"] for document in rendered if document["kind"] == "InferenceService"]


def rolled(component: dict[str, Any]) -> dict[str, int]:
    update: dict[str, int] = component["deploymentStrategy"]["rollingUpdate"]
    return update


def test_each_stage_takes_one_device_and_the_transformer_none(make_bundle: Callable[..., Bundle]) -> None:
    placement = Placement(gpu_resource="nvidia.com/mig-1g.10gb")
    stages = specs(
        render(make_bundle(), RenderOptions(transformer_as="component", storage="gs://b/m", placement=placement))
    )

    for stage in stages:
        amounts = stage["predictor"]["model"]["resources"]
        assert amounts["limits"]["nvidia.com/mig-1g.10gb"] == amounts["requests"]["nvidia.com/mig-1g.10gb"] == "1"
        assert set(amounts["limits"]) == {"cpu", "memory", "nvidia.com/mig-1g.10gb"}
        assert stage["predictor"]["tolerations"] == [
            {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}
        ]
    [container] = stages[0]["transformer"]["containers"]
    assert set(container["resources"]["limits"]) == {"cpu", "memory"}
    assert "tolerations" not in stages[0]["transformer"]


def test_a_rollout_waits_for_no_device_and_on_cpus_for_the_new_pod(make_bundle: Callable[..., Bundle]) -> None:
    on_cpus = specs(render(make_bundle(), RenderOptions(transformer_as="component", storage="gs://b/m")))
    on_gpus = specs(
        render(
            make_bundle(),
            RenderOptions(
                transformer_as="component", storage="gs://b/m", placement=Placement(gpu_resource="nvidia.com/gpu")
            ),
        )
    )

    assert [rolled(spec["predictor"]) for spec in on_cpus] == [{"maxSurge": 1, "maxUnavailable": 0}] * 3
    assert [rolled(spec["predictor"]) for spec in on_gpus] == [{"maxSurge": 0, "maxUnavailable": 1}] * 3
    assert rolled(on_gpus[0]["transformer"]) == {"maxSurge": 1, "maxUnavailable": 0}


def test_nodes_are_chosen_for_the_stages_alone(make_bundle: Callable[..., Bundle]) -> None:
    placement = Placement(node_selector={"pool": "big"}, tolerations=(Toleration(key="big"),))
    rendered = render(make_bundle(), RenderOptions(transformer_as="component", storage="gs://b/m", placement=placement))

    for stage in specs(rendered):
        assert stage["predictor"]["nodeSelector"] == {"pool": "big"}
        assert stage["predictor"]["tolerations"] == [{"key": "big", "operator": "Exists"}]
    assert "nodeSelector" not in specs(rendered)[0]["transformer"]
    assert "nodeSelector" not in rendered[-1]["spec"]


def test_replicas_spread_over_what_is_named(make_bundle: Callable[..., Bundle]) -> None:
    placement = Placement(spread=("kubernetes.io/hostname", "topology.kubernetes.io/zone"))
    stages = specs(
        render(make_bundle(), RenderOptions(transformer_as="component", storage="gs://b/m", placement=placement))
    )

    for index, stage in enumerate(stages):
        for kind, component in stage.items():
            constraints = component["topologySpreadConstraints"]
            assert [constraint["topologyKey"] for constraint in constraints] == list(placement.spread)
            for constraint in constraints:
                assert constraint["labelSelector"]["matchLabels"] == {
                    "serving.kserve.io/inferenceservice": f"resnet50-{index}",
                    "component": kind,
                }


def test_a_chain_on_one_node_if_there_is_room(make_bundle: Callable[..., Bundle]) -> None:
    options = RenderOptions(transformer_as="component", storage="gs://b/m", placement=Placement(colocate=True))
    rendered = render(make_bundle(), options)
    parts = [component for stage in specs(rendered) for component in stage.values()] + [rendered[-1]["spec"]]

    assert len(parts) == 5
    for part in parts:
        [preferred] = part["affinity"]["podAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
        assert preferred["podAffinityTerm"]["labelSelector"]["matchLabels"] == {"app.kubernetes.io/part-of": "resnet50"}


@pytest.mark.parametrize(
    ("text", "toleration"),
    [
        ("key", {"key": "key", "operator": "Exists"}),
        ("a.b/key:NoExecute", {"key": "a.b/key", "operator": "Exists", "effect": "NoExecute"}),
        ("key=value", {"key": "key", "operator": "Equal", "value": "value"}),
        ("key=:NoSchedule", {"key": "key", "operator": "Equal", "value": "", "effect": "NoSchedule"}),
    ],
)
def test_tolerations_as_kubectl_writes_taints(text: str, toleration: dict[str, str]) -> None:
    assert parse_toleration(text).to_dict() == toleration


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Placement(gpu_resource="gpu"), "'gpu' is not a GPU resource: write it as nvidia.com/gpu"),
        (lambda: Placement(gpu_resource="nvidia.com/a b"), "'nvidia.com/a b' is not a qualified name"),
        (lambda: Placement(node_selector={"a": "b c"}), "'b c' is not a value of a label or taint"),
        (lambda: Placement(tolerations=(parse_toleration(":NoSchedule"),)), "'' is not a qualified name"),
        (lambda: Placement(tolerations=(parse_toleration("a:Never"),)), "'Never' is not a taint's effect: write NoSch"),
        (lambda: Placement(spread=("-",)), "'-' is not a qualified name"),
    ],
)
def test_what_kubernetes_would_refuse(make: Callable[[], object], message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        make()


def test_a_node_selector_is_a_pair() -> None:
    with pytest.raises(UsageError, match="the node selector 'a' has no '=': write it as key=value"):
        parse_node_selector(["a"])
