"""A bundle's YAML: what is in it, that KServe's own models and rules take it, and what is refused."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from shardline.manifests.access import BucketAccess
from shardline.manifests.lint import lint
from shardline.manifests.network import Exposure, Network
from shardline.manifests.options import Overrides, RenderOptions
from shardline.manifests.placement import Placement, Toleration
from shardline.manifests.render import read_described, render, to_yaml, write_chain
from shardline.manifests.scaling import Scaling
from shardline.storage.bundle import Bundle
from shardline.wire.errors import ManifestError, UsageError

STORAGE = "gs://bucket/resnet50"
OPTIONS = RenderOptions(transformer_as="component", storage=STORAGE)
MIG = Placement(
    gpu_resource="nvidia.com/mig-1g.10gb",
    node_selector={"cloud.google.com/gke-accelerator": "nvidia-h100-80gb"},
    tolerations=(Toleration(key="team", value="vision", effect="NoSchedule"),),
    spread=("kubernetes.io/hostname",),
    colocate=True,
)
VARIANTS: dict[str, dict[str, Any]] = {
    "default": {},
    "versioned": {"versioned": True},
    "mig": {"placement": MIG, "scaling": Scaling(replicas=2)},
    "hpa": {"scaling": Scaling(autoscaler="hpa", max_replicas=4)},
    "keda": {
        "scaling": Scaling(autoscaler="keda", max_replicas=4, prometheus="http://prometheus.monitoring:9090"),
        "network": Network(allow_namespaces=("monitoring",)),
        "placement": MIG,
    },
    "key": {"access": BucketAccess(gcs_secret="key"), "image_pull_secret": "registry"},
    "workload identity": {"access": BucketAccess(workload_identity="fetcher@my-project.iam.gserviceaccount.com")},
    "ingress": {"exposure": Exposure(host="net.example.com", ingress_class="nginx", tls_secret="net-tls")},
    "gateway": {"exposure": Exposure(host="net.example.com", gateway="infra/public")},
    "knative": {"mode": "knative"},
    "knative on GPUs": {"mode": "knative", "placement": MIG, "access": BucketAccess(gcs_secret="key")},
    "small": {"stages": Overrides(cpu_request_m=100), "transformer": Overrides(cpu_request_m=50)},
}


def by_kind(rendered: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [document for document in rendered if document["kind"] == kind]


def test_a_misspelt_field_is_found(make_bundle: Callable[..., Bundle]) -> None:
    rendered = render(make_bundle(), OPTIONS)
    by_kind(rendered, "InferenceService")[0]["spec"]["predictor"]["model"]["storageUrl"] = "x"

    assert "unknown field 'storageUrl'" in str([str(problem) for problem in lint(rendered)])


@pytest.mark.parametrize("transformer", ["component", "step"])
@pytest.mark.parametrize("stages", [1, 3, 5])
@pytest.mark.parametrize("variant", VARIANTS)
def test_kserve_takes_every_variant(
    make_bundle: Callable[..., Bundle], stages: int, variant: str, transformer: str
) -> None:
    options = RenderOptions(transformer_as=transformer, storage=STORAGE, **VARIANTS[variant])
    rendered = render(make_bundle(stages=stages), options)

    assert [str(problem) for problem in lint(rendered)] == []
    assert {document["metadata"]["labels"]["app.kubernetes.io/part-of"] for document in rendered} == {"resnet50"}


@pytest.mark.parametrize("variant", VARIANTS)
def test_no_container_is_left_to_kserves_defaults(make_bundle: Callable[..., Bundle], variant: str) -> None:
    """2Gi of memory, which kills a large shard, among others."""
    rendered = render(make_bundle(), RenderOptions(transformer_as="component", storage=STORAGE, **VARIANTS[variant]))
    specs = [document["spec"] for document in by_kind(rendered, "InferenceService")]
    containers = [spec["predictor"]["model"] for spec in specs]
    containers += [part for spec in specs for part in spec.get("transformer", {}).get("containers", [])]
    containers += [document["spec"] for document in by_kind(rendered, "InferenceGraph")]

    assert len(containers) == 5
    for container in containers:
        assert set(container["resources"]["limits"]) == set(container["resources"]["requests"]) >= {"cpu", "memory"}


def test_a_versioned_chain_has_its_digest_in_all_names_but_those_that_lead_to_it(
    make_bundle: Callable[..., Bundle],
) -> None:
    bundle = make_bundle()
    short = bundle.digest.removeprefix("sha256:")[:8]
    options = RenderOptions(
        transformer_as="component",
        storage=STORAGE,
        name="net",
        versioned=True,
        scaling=Scaling(replicas=2),
        exposure=Exposure(host="net.example.com"),
    )

    rendered = render(bundle, options)
    names = [(document["kind"], document["metadata"]["name"]) for document in rendered]

    assert names == [
        ("NetworkPolicy", "net-first-stage"),
        ("NetworkPolicy", "net-transformer"),
        ("NetworkPolicy", "net-stages"),
        ("NetworkPolicy", "net-router"),
        ("ServingRuntime", f"net-{short}"),
        ("InferenceService", f"net-{short}-0"),
        ("InferenceService", f"net-{short}-1"),
        ("InferenceService", f"net-{short}-2"),
        ("InferenceGraph", "net"),
        ("PodDisruptionBudget", f"net-{short}-0-predictor"),
        ("PodDisruptionBudget", f"net-{short}-0-transformer"),
        ("PodDisruptionBudget", f"net-{short}-1-predictor"),
        ("PodDisruptionBudget", f"net-{short}-2-predictor"),
        ("PodDisruptionBudget", "net-router"),
        ("Ingress", "net-public"),
    ]
    for document in rendered:
        assert document["metadata"]["labels"]["shardline/bundle"] == short
        assert document["metadata"]["annotations"]["shardline/bundle-digest"] == bundle.digest
    steps = rendered[8]["spec"]["nodes"]["root"]["steps"]
    assert [step["serviceName"] for step in steps] == [name for kind, name in names if kind == "InferenceService"]
    assert {document["spec"]["predictor"]["model"]["runtime"] for document in rendered[5:8]} == {f"net-{short}"}


def test_a_versioned_single_stage_has_a_graph_that_can_switch_to_the_next(make_bundle: Callable[..., Bundle]) -> None:
    rendered = render(make_bundle(stages=1), RenderOptions(transformer_as="component", storage=STORAGE, versioned=True))
    [service], [graph] = by_kind(rendered, "InferenceService"), by_kind(rendered, "InferenceGraph")

    assert graph["metadata"]["name"] == "resnet50"
    assert [step["serviceName"] for step in graph["spec"]["nodes"]["root"]["steps"]] == [service["metadata"]["name"]]


def test_two_versions_share_no_name_but_the_chains_own(make_bundle: Callable[..., Bundle]) -> None:
    options = RenderOptions(transformer_as="component", storage=STORAGE, versioned=True, scaling=Scaling(replicas=2))
    [first, second] = [
        {(document["kind"], document["metadata"]["name"]) for document in render(make_bundle(batch=batch), options)}
        for batch in (1, 2)
    ]

    assert {kind for kind, _ in first & second} == {"InferenceGraph", "NetworkPolicy", "PodDisruptionBudget"}
    assert ("PodDisruptionBudget", "resnet50-router") in first & second
    assert len(first - second) == len(second - first) == 8


def test_one_stage_needs_no_graph_and_bears_the_chains_name(make_bundle: Callable[..., Bundle]) -> None:
    rendered = render(make_bundle(stages=1), OPTIONS)

    assert [(document["kind"], document["metadata"]["name"]) for document in rendered] == [
        ("NetworkPolicy", "resnet50-first-stage"),
        ("NetworkPolicy", "resnet50-transformer"),
        ("ServingRuntime", "resnet50"),
        ("InferenceService", "resnet50"),
    ]
    assert "transformer" in rendered[-1]["spec"]


def test_the_file_parses_to_the_documents_and_says_where_it_is_from(
    make_bundle: Callable[..., Bundle], tmp_path: Path
) -> None:
    bundle = make_bundle()

    path = write_chain(bundle, tmp_path / "out", OPTIONS, command="shardline render bundles/resnet50")
    text = path.read_text()

    assert path == tmp_path / "out" / "resnet50.yaml"
    assert list(yaml.safe_load_all(text)) == render(bundle, OPTIONS)
    assert f"# bundle {bundle.digest}\n# written by: shardline render bundles/resnet50\n" in text
    assert "{" not in text.replace("{{.Name}}", "").replace("emptyDir: {}", "")
    assert "&id" not in text


def test_rendering_twice_gives_the_same_bytes(make_bundle: Callable[..., Bundle], tmp_path: Path) -> None:
    first = write_chain(make_bundle(), tmp_path, OPTIONS).read_bytes()

    assert write_chain(make_bundle(), tmp_path, OPTIONS).read_bytes() == first


def test_a_bundle_json_alone_is_enough(make_bundle: Callable[..., Bundle], tmp_path: Path) -> None:
    bundle = make_bundle()
    (tmp_path / "bundle.json").write_bytes(bundle.to_json())

    assert read_described(tmp_path / "bundle.json") == bundle


GO_READS = ["12e34567", "12345678", "0x1234", "0o17", "1_0", "y", "N", "1e5", "+.5", "-1.", ".5e1", "0b11", "3."]


@pytest.mark.parametrize("word", GO_READS)
def test_words_that_go_takes_for_numbers_or_booleans_are_quoted(word: str) -> None:
    """A label's value must be a string: kubectl refuses the document otherwise."""
    assert re.fullmatch(rf"---\nlabel: (['\"]){re.escape(word)}\1\n", to_yaml([{"label": word}]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "Net"}, "the name 'Net' is not allowed"),
        ({"name": "3net"}, "the name '3net' is not allowed"),
        ({"namespace": "a_b"}, "the namespace 'a_b' is not allowed"),
        ({"name": "n" * 60}, "has 82 characters, 63 are allowed: choose a --name or --namespace shorter by 19"),
        ({"name": "n" * 42}, "'" + "n" * 42 + "-0-transformer-default' has 64 characters, 63 are allowed"),
        ({"name": "n" * 46, "namespace": "x"}, "service's pod label 'isvc." + "n" * 46 + "-0-transformer' has 65"),
    ],
)
def test_a_name_that_kserve_would_refuse_is_refused_here(
    make_bundle: Callable[..., Bundle], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ManifestError, match=re.escape(message)):
        render(make_bundle(), RenderOptions(**{"storage": STORAGE, **options}))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image": "two words"}, "'two words' is not an image"),
        ({"image_pull_policy": "Sometimes"}, "'Sometimes' is not a pull policy: choose Always, IfNotPresent, Never"),
        ({"mode": "raw"}, "'raw' is not a mode: choose standard, knative"),
        ({"mode": "knative", "exposure": Exposure(host="a.b")}, "--mode knative excludes --ingress-host"),
        (
            {"placement": MIG, "scaling": Scaling(autoscaler="hpa", max_replicas=2)},
            "an HPA scales by CPU, of which a stage on a GPU uses little",
        ),
        (
            {"scaling": Scaling(autoscaler="keda", max_replicas=2, prometheus="http://p")},
            "the NetworkPolicies block Prometheus: name its namespace with --allow-namespace",
        ),
        ({"storage": "/tmp/bundle"}, "'/tmp/bundle' is not a URI that KServe supports"),
    ],
)
def test_what_kserve_would_refuse_is_refused_here(
    make_bundle: Callable[..., Bundle], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        render(make_bundle(), RenderOptions(**{"storage": STORAGE, **options}))


def test_the_longest_name_that_fits_is_taken(make_bundle: Callable[..., Bundle]) -> None:
    assert render(make_bundle(), RenderOptions(transformer_as="component", storage=STORAGE, name="n" * 41))


def test_names_that_yaml_takes_for_booleans_stay_names(make_bundle: Callable[..., Bundle], tmp_path: Path) -> None:
    path = write_chain(
        make_bundle(), tmp_path, RenderOptions(transformer_as="component", storage=STORAGE, name="on", namespace="yes")
    )

    assert {document["metadata"]["namespace"] for document in yaml.safe_load_all(path.read_text())} == {"yes"}
