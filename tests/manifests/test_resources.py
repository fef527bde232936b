"""KServe's documents: runtime, services, graph, and the pods that they describe."""

from collections.abc import Callable
from typing import Any

from shardline.manifests.network import Exposure
from shardline.manifests.options import RenderOptions
from shardline.manifests.render import render, to_yaml
from shardline.manifests.scaling import Scaling
from shardline.storage.bundle import Bundle

STORAGE = "gs://bucket/resnet50"


OPTIONS = RenderOptions(transformer_as="component", storage=STORAGE)


def by_kind(rendered: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [document for document in rendered if document["kind"] == kind]


def test_the_graph_is_a_hard_sequence_in_which_each_stage_gets_the_answer_of_the_one_before(
    make_bundle: Callable[..., Bundle],
) -> None:
    [graph] = by_kind(render(make_bundle(stages=3), OPTIONS), "InferenceGraph")

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
        render(bundle, RenderOptions(transformer_as="component", storage=STORAGE + "/", name="net", namespace="prod")),
        "InferenceService",
    )

    assert [service["metadata"]["name"] for service in services] == ["net-0", "net-1", "net-2"]
    assert {service["metadata"]["namespace"] for service in services} == {"prod"}
    assert ["transformer" in service["spec"] for service in services] == [True, False, False]
    for index, service in enumerate(services):
        model = service["spec"]["predictor"]["model"]
        assert model["storageUri"] == f"gs://bucket/resnet50/stages/{index}"
        assert model["runtime"] == "net"
        assert f"--bundle_digest={bundle.digest}" in model["args"]
        assert service["metadata"]["annotations"]["serving.kserve.io/deploymentMode"] == "Standard"


def test_what_kserves_controller_injects_is_left_to_it(make_bundle: Callable[..., Bundle]) -> None:
    service = by_kind(render(make_bundle(), OPTIONS), "InferenceService")[0]
    [container] = service["spec"]["transformer"]["containers"]

    injected = ("--model_name", "--predictor_host", "--http_port", "--workers")
    assert not [argument for argument in container["args"] if argument.startswith(injected)]
    assert container["name"] == "kserve-container"
    assert "containerConcurrency" not in service["spec"]["transformer"]


def test_no_environment_name_that_kserve_forbids(make_bundle: Callable[..., Bundle]) -> None:
    text = str(render(make_bundle(), OPTIONS))

    assert "PYTHONPATH" not in text


def test_pods_give_up_what_they_do_not_need(make_bundle: Callable[..., Bundle]) -> None:
    rendered = render(make_bundle(), OPTIONS)
    [runtime] = by_kind(rendered, "ServingRuntime")
    first = by_kind(rendered, "InferenceService")[0]["spec"]
    [transformer] = first["transformer"]["containers"]

    for container in (*runtime["spec"]["containers"], transformer):
        rights = container["securityContext"]
        assert rights["runAsNonRoot"]
        assert rights["runAsUser"] > 0
        assert rights["readOnlyRootFilesystem"]
        assert not rights["allowPrivilegeEscalation"]
        assert rights["capabilities"] == {"drop": ["ALL"]}
        assert rights["seccompProfile"] == {"type": "RuntimeDefault"}
    for component in (first["predictor"], first["transformer"]):
        assert component["automountServiceAccountToken"] is False
        assert component["securityContext"]["runAsNonRoot"]


def test_a_pod_says_why_it_ended_and_has_time_to_end(make_bundle: Callable[..., Bundle]) -> None:
    rendered = render(make_bundle(), OPTIONS)
    [runtime] = by_kind(rendered, "ServingRuntime")
    first = by_kind(rendered, "InferenceService")[0]["spec"]
    [transformer] = first["transformer"]["containers"]

    for container in (*runtime["spec"]["containers"], transformer):
        assert container["terminationMessagePolicy"] == "FallbackToLogsOnError"
        assert {"startupProbe", "readinessProbe", "livenessProbe"} <= set(container)
        [drain_s] = [
            int(argument.partition("=")[2]) for argument in container["args"] if argument.startswith("--drain_seconds=")
        ]
        assert drain_s >= 10
        assert container["lifecycle"]["preStop"]["sleep"]["seconds"] + drain_s + 30 < 60
    assert first["predictor"]["terminationGracePeriodSeconds"] == 60
    assert first["transformer"]["terminationGracePeriodSeconds"] == 60


def test_stages_behind_a_graph_are_not_published(make_bundle: Callable[..., Bundle]) -> None:
    label = "networking.kserve.io/visibility"

    def visibilities(stages: int, **more: Any) -> set[str | None]:
        rendered = render(
            make_bundle(stages=stages), RenderOptions(transformer_as="component", storage=STORAGE, **more)
        )
        return {document["metadata"]["labels"].get(label) for document in by_kind(rendered, "InferenceService")}

    assert visibilities(3) == visibilities(1, versioned=True) == {"cluster-local"}
    assert visibilities(1) == {None}
    assert visibilities(1, exposure=Exposure(host="net.example.com")) == {"cluster-local"}


def test_nothing_that_knatives_webhook_refuses(make_bundle: Callable[..., Bundle]) -> None:
    """Knative Serving's fieldmask.go, and max-revision-timeout-seconds."""
    bundle = make_bundle(stages=3)
    rendered = render(
        bundle, RenderOptions(transformer_as="component", storage=STORAGE, mode="knative", scaling=Scaling(replicas=2))
    )
    text = to_yaml(rendered)

    assert {document["kind"] for document in rendered} == {"ServingRuntime", "InferenceService", "InferenceGraph"}
    assert "--drain_seconds" not in text
    for field in ("lifecycle", "terminationGracePeriodSeconds", "deploymentStrategy", "affinity", "nodeSelector"):
        assert f"{field}:" not in text
    assert text.count("serving.kserve.io/deploymentMode: Knative") == 4
    for service in by_kind(rendered, "InferenceService"):
        assert "securityContext" not in service["spec"]["predictor"]
        assert service["spec"]["predictor"]["timeout"] <= 600
        assert service["metadata"]["labels"]["networking.knative.dev/visibility"] == "cluster-local"
