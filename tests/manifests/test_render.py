"""A bundle's YAML: what is in it, that KServe's own models know every field, and what is refused."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kserve
import pytest
import yaml
from kubernetes import client as kubernetes

from manifests.options import RenderOptions
from manifests.render import documents, render
from storage.bundle import Bundle
from wire.errors import ManifestError

STORAGE = "gs://bucket/resnet50"
OPTIONS = RenderOptions(storage=STORAGE)
MODELS = {
    "InferenceService": "V1beta1InferenceService",
    "InferenceGraph": "V1alpha1InferenceGraph",
    "ServingRuntime": "V1alpha1ServingRuntime",
    "ServiceAccount": "V1ServiceAccount",
    "NetworkPolicy": "V1NetworkPolicy",
    "PodDisruptionBudget": "V1PodDisruptionBudget",
    "Ingress": "V1Ingress",
}


def unknown_fields(value: Any, type_name: str, path: str = "") -> list[str]:
    """Every field of a document that KServe's or Kubernetes' typed models do not know, as 'spec.predictor.modell'."""
    if match := re.fullmatch(r"list\[(.+)\]", type_name):
        assert isinstance(value, list), f"{path} is no list"
        return [each for i, item in enumerate(value) for each in unknown_fields(item, match[1], f"{path}[{i}]")]
    if match := re.fullmatch(r"dict\(str, (.+)\)", type_name):
        assert isinstance(value, dict), f"{path} is no object"
        return [each for key, item in value.items() for each in unknown_fields(item, match[1], f"{path}.{key}")]
    model = getattr(kserve.models, type_name, None) or getattr(kubernetes, type_name, None)
    if model is None:
        return []
    assert isinstance(value, dict), f"{path} is no object"
    known = {json_name: model.openapi_types[name] for name, json_name in model.attribute_map.items()}
    return [
        problem
        for key, item in value.items()
        for problem in (
            unknown_fields(item, known[key], f"{path}.{key}".lstrip(".")) if key in known else [f"{path}.{key}"]
        )
    ]


def by_kind(rendered: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [each for each in rendered if each["kind"] == kind]


def test_a_misspelt_field_is_found() -> None:
    document = {"spec": {"predictor": {"model": {"storageUrl": "x", "env": [{"name": "A", "valeu": "1"}]}}}}

    assert unknown_fields(document, "V1beta1InferenceService") == [
        "spec.predictor.model.storageUrl",
        "spec.predictor.model.env[0].valeu",
    ]


@pytest.mark.parametrize("stages", [1, 3])
def test_kserve_knows_every_field(make_bundle: Callable[..., Bundle], stages: int) -> None:
    for document in documents(make_bundle(stages=stages), OPTIONS):
        assert unknown_fields(document, MODELS[document["kind"]]) == []


def test_the_graph_is_a_hard_sequence_in_which_each_stage_gets_the_answer_of_the_one_before(
    make_bundle: Callable[..., Bundle],
) -> None:
    [graph] = by_kind(documents(make_bundle(stages=3), OPTIONS), "InferenceGraph")

    assert graph["metadata"]["name"] == "resnet50"
    assert graph["metadata"]["annotations"]["serving.kserve.io/deploymentMode"] == "Standard"
    assert graph["spec"]["nodes"] == {
        "root": {
            "routerType": "Sequence",
            "steps": [
                {"name": "resnet50-0", "serviceName": "resnet50-0", "dependency": "Hard"},
                {"name": "resnet50-1", "serviceName": "resnet50-1", "dependency": "Hard", "data": "$response"},
                {"name": "resnet50-2", "serviceName": "resnet50-2", "dependency": "Hard", "data": "$response"},
            ],
        }
    }


def test_stages_differ_in_their_shard_and_only_the_first_has_a_transformer(
    make_bundle: Callable[..., Bundle],
) -> None:
    bundle = make_bundle(stages=3)

    services = by_kind(
        documents(bundle, RenderOptions(storage=STORAGE + "/", name="net", namespace="prod")), "InferenceService"
    )

    assert [each["metadata"]["name"] for each in services] == ["net-0", "net-1", "net-2"]
    assert {each["metadata"]["namespace"] for each in services} == {"prod"}
    assert ["transformer" in each["spec"] for each in services] == [True, False, False]
    for index, service in enumerate(services):
        model = service["spec"]["predictor"]["model"]
        assert model["storageUri"] == f"gs://bucket/resnet50/stages/{index}"
        assert model["runtime"] == "net"
        assert f"--bundle_digest={bundle.digest}" in model["args"]
        assert service["metadata"]["annotations"]["serving.kserve.io/deploymentMode"] == "Standard"


def test_one_stage_needs_no_graph_and_bears_the_chains_name(make_bundle: Callable[..., Bundle]) -> None:
    rendered = documents(make_bundle(stages=1), OPTIONS)

    assert [(each["kind"], each["metadata"]["name"]) for each in rendered] == [
        ("NetworkPolicy", "resnet50-first-stage"),
        ("ServingRuntime", "resnet50"),
        ("InferenceService", "resnet50"),
    ]
    assert "transformer" in rendered[-1]["spec"]


def test_what_kserves_controller_injects_is_left_to_it(make_bundle: Callable[..., Bundle]) -> None:
    service = by_kind(documents(make_bundle(), OPTIONS), "InferenceService")[0]
    [container] = service["spec"]["transformer"]["containers"]

    injected = ("--model_name", "--predictor_host", "--http_port", "--workers")
    assert not [each for each in container["args"] if each.startswith(injected)]
    assert container["name"] == "kserve-container"
    assert "containerConcurrency" not in service["spec"]["transformer"]


def test_no_component_is_left_to_kserves_default_resources(make_bundle: Callable[..., Bundle]) -> None:
    for service in by_kind(documents(make_bundle(), OPTIONS), "InferenceService"):
        spec = service["spec"]
        parts = [spec["predictor"]["model"], *spec.get("transformer", {}).get("containers", [])]
        for part in parts:
            assert set(part["resources"]["limits"]) == set(part["resources"]["requests"]) == {"cpu", "memory"}


def test_no_environment_name_that_kserve_forbids(make_bundle: Callable[..., Bundle]) -> None:
    text = str(documents(make_bundle(), OPTIONS))

    assert "PYTHONPATH" not in text


def test_the_file_parses_to_the_documents_and_says_where_it_is_from(
    make_bundle: Callable[..., Bundle], tmp_path: Path
) -> None:
    bundle = make_bundle()

    path = render(bundle, tmp_path / "out", OPTIONS, command="shardline render bundles/resnet50")
    text = path.read_text()

    assert path == tmp_path / "out" / "resnet50.yaml"
    assert list(yaml.safe_load_all(text)) == documents(bundle, OPTIONS)
    assert f"# bundle {bundle.digest}\n# written by: shardline render bundles/resnet50\n" in text
    assert "{" not in text.replace("{{.Name}}", "").replace("emptyDir: {}", "")
    assert "&id" not in text


def test_rendering_twice_gives_the_same_bytes(make_bundle: Callable[..., Bundle], tmp_path: Path) -> None:
    first = render(make_bundle(), tmp_path, OPTIONS).read_bytes()

    assert render(make_bundle(), tmp_path, OPTIONS).read_bytes() == first


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "Net"}, "the name 'Net' is not allowed"),
        ({"name": "3net"}, "the name '3net' is not allowed"),
        ({"namespace": "a_b"}, "the namespace 'a_b' is not allowed"),
        ({"name": "n" * 60}, "has 68 characters, 63 are allowed: choose a --name or --namespace shorter by 5"),
        ({"name": "n" * 42}, "'" + "n" * 42 + "-0-transformer-default' has 64 characters, 63 are allowed"),
        ({"storage": "/tmp/bundle"}, "the storage URI '/tmp/bundle' is none that KServe takes"),
    ],
)
def test_what_kserve_would_refuse_is_refused_here(
    make_bundle: Callable[..., Bundle], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ManifestError, match=re.escape(message)):
        documents(make_bundle(), RenderOptions(**{"storage": STORAGE, **options}))


def test_the_longest_name_that_fits_is_taken(make_bundle: Callable[..., Bundle]) -> None:
    assert documents(make_bundle(), RenderOptions(storage=STORAGE, name="n" * 41))


def test_names_that_yaml_takes_for_booleans_stay_names(make_bundle: Callable[..., Bundle], tmp_path: Path) -> None:
    path = render(make_bundle(), tmp_path, RenderOptions(storage=STORAGE, name="on", namespace="yes"))

    assert {each["metadata"]["namespace"] for each in yaml.safe_load_all(path.read_text())} == {"yes"}
