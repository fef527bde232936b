"""The transformer as a step of the graph: an InferenceService of its own, in front of all stages."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from shardline.manifests.launches import hold, plan_launches
from shardline.manifests.network import Exposure, Network
from shardline.manifests.options import RenderOptions
from shardline.manifests.placement import Placement
from shardline.manifests.render import render, write_chain
from shardline.manifests.scaling import Scaling
from shardline.manifests.workloads import read_chain, with_urls
from shardline.storage.bundle import Bundle, InputSpec
from shardline.wire.errors import UsageError

STEP = RenderOptions(storage="gs://b/m", transformer_as="step")


def named(rendered: list[dict[str, Any]], kind: str) -> dict[str, dict[str, Any]]:
    return {document["metadata"]["name"]: document for document in rendered if document["kind"] == kind}


@pytest.mark.parametrize(
    ("stages", "asked", "step"),
    [(3, None, True), (1, None, False), (3, "component", False), (1, "step", True), (2, "step", True)],
)
def test_a_step_where_it_costs_less_or_is_asked_for(
    make_bundle: Callable[..., Bundle], stages: int, asked: str | None, step: bool
) -> None:
    rendered = render(make_bundle(stages=stages), RenderOptions(storage="gs://b/m", transformer_as=asked))
    services = named(rendered, "InferenceService")

    assert ("resnet50-pre" in services) == step
    assert any("transformer" in service["spec"] for service in services.values()) != step
    assert bool(named(rendered, "InferenceGraph")) == (step or stages > 1)


def test_it_is_a_custom_predictor_that_passes_frames_on(make_bundle: Callable[..., Bundle]) -> None:
    spec = named(render(make_bundle(), STEP), "InferenceService")["resnet50-pre"]["spec"]
    [container] = spec["predictor"]["containers"]

    assert list(spec) == ["predictor"]
    assert container["name"] == "kserve-container"  # else KServe's controller panics
    assert container["command"] == ["python", "-m", "shardline.predictors.transformer"]
    assert container["args"][-3:] == ["--step", "--http_port=8080", "--model_name=resnet50-pre"]
    assert not any(arg.startswith("--predictor_host") for arg in container["args"])
    assert container["readinessProbe"]["httpGet"]["path"] == "/v1/models/resnet50-pre"
    assert container["resources"]["limits"].keys() == {"cpu", "memory"}  # KServe fills in what is missing


def test_the_graph_begins_with_it(make_bundle: Callable[..., Bundle]) -> None:
    rendered = render(make_bundle(), STEP)
    steps = named(rendered, "InferenceGraph")["resnet50"]["spec"]["nodes"]["root"]["steps"]

    assert [step["serviceName"] for step in steps] == ["resnet50-pre", "resnet50-0", "resnet50-1", "resnet50-2"]
    assert {step["dependency"] for step in steps} == {"Hard"}
    assert [step.get("data") for step in steps] == [None, "$response", "$response", "$response"]


def test_its_name_tells_its_version(make_bundle: Callable[..., Bundle]) -> None:
    bundle = make_bundle()
    rendered = render(bundle, RenderOptions(storage="gs://b/m", versioned=True))

    assert f"resnet50-{bundle.digest.removeprefix('sha256:')[:8]}-pre" in named(rendered, "InferenceService")


def test_only_the_router_reaches_any_of_them(make_bundle: Callable[..., Bundle]) -> None:
    """Its name is none of those of a chain with a component: versions of both kinds stand side by side."""
    steps = named(render(make_bundle(), STEP), "NetworkPolicy")
    others = named(
        render(make_bundle(), RenderOptions(storage="gs://b/m", transformer_as="component")), "NetworkPolicy"
    )
    policy = steps["resnet50-steps"]

    assert policy["spec"]["podSelector"]["matchLabels"]["component"] == "predictor"
    assert policy["spec"]["ingress"][0]["from"] == [
        {"podSelector": {"matchLabels": {"serving.kserve.io/inferencegraph": "resnet50"}}}
    ]
    assert not steps.keys() & others.keys()


def test_strangers_are_let_in_by_namespace(make_bundle: Callable[..., Bundle]) -> None:
    options = RenderOptions(storage="gs://b/m", network=Network(allow_namespaces=("monitoring",)))
    policy = named(render(make_bundle(), options), "NetworkPolicy")["resnet50-steps"]

    assert len(policy["spec"]["ingress"][0]["from"]) == 2


def test_a_step_reaches_nobody(make_bundle: Callable[..., Bundle]) -> None:
    """It only answers: a picture that takes it over finds no way out."""
    spec = named(render(make_bundle(), STEP), "NetworkPolicy")["resnet50-step-egress"]["spec"]

    assert spec["policyTypes"] == ["Ingress", "Egress"]
    assert spec["egress"] == []
    assert spec["podSelector"]["matchExpressions"] == [{"key": "shardline/stage", "operator": "DoesNotExist"}]


def test_temporary_files_are_bounded(make_bundle: Callable[..., Bundle]) -> None:
    rendered = render(make_bundle(), STEP)
    pre = named(rendered, "InferenceService")["resnet50-pre"]["spec"]["predictor"]
    [runtime] = named(rendered, "ServingRuntime").values()

    for spec in (pre, runtime["spec"]):
        assert spec["volumes"] == [{"name": "tmp", "emptyDir": {"sizeLimit": "256Mi"}}]


def test_it_scales_and_is_evicted_like_a_stage_and_takes_no_device(make_bundle: Callable[..., Bundle]) -> None:
    options = RenderOptions(
        storage="gs://b/m",
        scaling=Scaling(autoscaler="hpa", max_replicas=4),
        placement=Placement(gpu_resource=None, node_selector={"pool": "big"}),
    )
    rendered = render(make_bundle(), options)
    predictor = named(rendered, "InferenceService")["resnet50-pre"]["spec"]["predictor"]

    assert (predictor["scaleMetric"], predictor["maxReplicas"]) == ("cpu", 4)
    assert "nodeSelector" not in predictor
    assert sorted(named(rendered, "PodDisruptionBudget")) == [
        "resnet50-0-predictor",
        "resnet50-1-predictor",
        "resnet50-2-predictor",
        "resnet50-pre-predictor",
    ]


def test_the_way_in_leads_to_the_router(make_bundle: Callable[..., Bundle]) -> None:
    options = RenderOptions(storage="gs://b/m", transformer_as="step", exposure=Exposure(host="net.example.com"))
    [ingress] = named(render(make_bundle(stages=1), options), "Ingress").values()

    assert ingress["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"]["name"] == "resnet50"


def test_up_runs_it_as_the_first_step(make_bundle: Callable[..., Bundle], tmp_path: Path) -> None:
    chain = read_chain(write_chain(make_bundle(), tmp_path, STEP))
    with plan_launches(chain, tmp_path, front=hold(0), router=None) as plan:
        launch = next(launch for launch in plan.launches if launch.name == "resnet50-pre")
    addresses = {name: f"http://{name}" for name in chain.model_names}

    assert [workload.name for workload in chain.workloads] == ["resnet50-pre", "resnet50-0", "resnet50-1", "resnet50-2"]
    assert with_urls(chain, addresses)["nodes"]["root"]["steps"][0]["serviceUrl"] == (
        "http://resnet50-pre/v1/models/resnet50-pre:predict"
    )
    assert "--step" in launch.argv
    assert [word for word in launch.argv if word.startswith("--http_port")] == [f"--http_port={launch.port}"]


def test_another_word_is_refused() -> None:
    with pytest.raises(UsageError, match="'sidecar' is not a kind of transformer: choose component, step"):
        RenderOptions(storage="gs://b/m", transformer_as="sidecar")


def test_mode_and_further_inputs_are_arguments(make_bundle: Callable[..., Bundle]) -> None:
    picture = replace(make_bundle().picture, mode="L")
    mask = InputSpec(name="mask", kind="tensor", dtype="F32", shape=(1, 32, 32))
    bundle = make_bundle(picture=picture, inputs=(mask, InputSpec(name="reference", kind="picture")))

    [container] = named(render(bundle, STEP), "InferenceService")["resnet50-pre"]["spec"]["predictor"]["containers"]

    wanted = ["--mode=L", "--input=mask=float32[1,32,32]", "--input=reference=picture"]
    assert [arg for arg in container["args"] if arg in wanted] == wanted
