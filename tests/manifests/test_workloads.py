"""Documents that `up` reads: what KServe's controller would make of them, and what it could not run."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from shardline.manifests.network import Network
from shardline.manifests.options import RenderOptions
from shardline.manifests.render import write_chain
from shardline.manifests.scaling import Scaling
from shardline.manifests.workloads import read_chain, with_urls
from shardline.storage.bundle import Bundle
from shardline.wire.errors import FileError, ManifestError

STORAGE = "gs://bucket/resnet50"


@pytest.fixture
def rendered(make_bundle: Callable[..., Bundle], tmp_path: Path) -> Path:
    return write_chain(
        make_bundle(),
        tmp_path,
        RenderOptions(
            storage=STORAGE,
            scaling=Scaling(replicas=2),
            network=Network(policies=False),
            transformer_as="component",
        ),
    )


def changed(path: Path, change: Callable[[list[dict[str, Any]]], object]) -> Path:
    documents = list(yaml.safe_load_all(path.read_text()))
    change(documents)
    path.write_text(yaml.safe_dump_all(documents))
    return path


def test_what_render_writes_is_a_chain(rendered: Path) -> None:
    chain = read_chain(rendered.parent)

    assert chain.name == chain.model_name == "resnet50"
    assert [workload.name for workload in chain.workloads] == [
        "resnet50-0",
        "resnet50-0-transformer",
        "resnet50-1",
        "resnet50-2",
    ]
    predictor, transformer = chain.workloads[:2]
    assert predictor.command == ("python", "-m", "shardline.predictors.shard")
    assert "--model_name=resnet50-0" in predictor.args
    assert predictor.args[-1].startswith("--max_held_bytes=")
    assert predictor.storage_uri == "gs://bucket/resnet50/stages/0"
    assert predictor.env["OMP_WAIT_POLICY"] == "PASSIVE"
    assert (predictor.ready_path, predictor.ready_period_s, predictor.startup_s) == ("/v1/models/resnet50-0", 5, 600)
    assert (predictor.replicas, predictor.cpus, transformer.cpus) == (2, 2, 1)
    assert transformer.storage_uri is None
    assert chain.front("resnet50-0") == transformer
    assert chain.front("resnet50-1") == chain.workloads[2]


def test_one_stage_is_a_chain_without_a_graph(make_bundle: Callable[..., Bundle], tmp_path: Path) -> None:
    chain = read_chain(write_chain(make_bundle(stages=1), tmp_path, RenderOptions(storage=STORAGE)))

    assert chain.graph is None
    assert chain.name == chain.model_name == "resnet50"


def test_steps_get_the_addresses_that_the_controller_writes(rendered: Path) -> None:
    chain = read_chain(rendered)

    spec = with_urls(chain, {f"resnet50-{i}": f"http://127.0.0.1:{i}" for i in range(3)})

    assert [step["serviceUrl"] for step in spec["nodes"]["root"]["steps"]] == [
        f"http://127.0.0.1:{i}/v1/models/resnet50-{i}:predict" for i in range(3)
    ]
    assert chain.graph is not None
    assert "serviceUrl" not in str(chain.graph)


@pytest.mark.parametrize(("quantity", "cpus"), [("2", 2), (2, 2), ("1500m", 2), ("100m", 1), ("0.5", 1), (None, None)])
def test_a_cpu_limit_is_rounded_up(rendered: Path, quantity: object, cpus: int | None) -> None:
    def change(documents: list[dict[str, Any]]) -> None:
        documents[1]["spec"]["predictor"]["model"]["resources"] = {"limits": {"cpu": quantity}}

    assert read_chain(changed(rendered, change)).workloads[0].cpus == cpus


def test_the_services_env_wins_by_name_and_its_probe_replaces(rendered: Path) -> None:
    def change(documents: list[dict[str, Any]]) -> None:
        model = documents[1]["spec"]["predictor"]["model"]
        model["env"] = [{"name": "OMP_WAIT_POLICY", "value": "ACTIVE"}, {"name": "SECRET", "valueFrom": {}}]
        model["readinessProbe"] = {"tcpSocket": {"port": 8080}}

    workload = read_chain(changed(rendered, change)).workloads[0]

    assert workload.env["OMP_WAIT_POLICY"] == "ACTIVE"
    assert "SECRET" not in workload.env
    assert workload.ready_path is None


REFUSED: dict[str, Callable[[list[dict[str, Any]]], object]] = {
    "holds no document": lambda documents: documents.clear(),
    "holds 3 InferenceServices and 0 InferenceGraphs, which is not one chain": lambda documents: documents.pop(4),
    "InferenceService resnet50-0 names the runtime 'resnet50', which is not among": lambda documents: documents.pop(0),
    "InferenceGraph resnet50: node root has a step for the service 'resnet50-2'": lambda documents: documents.pop(3),
    "InferenceService resnet50-0 has no spec.predictor.model": (
        lambda documents: documents[1]["spec"]["predictor"].pop("model")
    ),
    "InferenceService without a name has no metadata.name": lambda documents: documents[1]["metadata"].pop("name"),
    "has no container named kserve-container": (
        lambda documents: documents[0]["spec"]["containers"][0].update(name="other")
    ),
    "its predictor has no command, and images cannot be run here": (
        lambda documents: documents[0]["spec"]["containers"][0].pop("command")
    ),
    "its transformer has no container": lambda documents: documents[1]["spec"]["transformer"].update(containers=[]),
    "the ServingRuntime's placeholder {{.Labels.x}} is not supported here": (
        lambda documents: documents[0]["spec"]["containers"][0].update(args=["{{.Labels.x}}"])
    ),
    "holds an invalid document": lambda documents: documents[0]["spec"].update(containers=["one"]),
    "InferenceGraph resnet50 has no spec.nodes.root": lambda documents: documents[4]["spec"].update(nodes={}),
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_cannot_run_is_refused(rendered: Path, message: str) -> None:
    with pytest.raises(ManifestError, match=re.escape(message)):
        read_chain(changed(rendered, REFUSED[message]))


@pytest.mark.parametrize(
    ("text", "message"), [("a: [", "is not YAML"), ("\udcff", "is not text"), ("- 1\n", "holds no InferenceService")]
)
def test_what_is_no_manifest_is_refused_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "x.yaml").write_bytes(text.encode(errors="surrogateescape"))

    with pytest.raises(ManifestError, match=message) as caught:
        read_chain(tmp_path)

    assert "\n" not in str(caught.value)


def test_a_path_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="nowhere does not exist"):
        read_chain(tmp_path / "nowhere")


def test_a_folder_with_several_chains_names_the_file_of_each(
    make_bundle: Callable[..., Bundle], tmp_path: Path
) -> None:
    write_chain(make_bundle(), tmp_path, RenderOptions(storage=STORAGE))
    write_chain(make_bundle(stages=1), tmp_path, RenderOptions(storage=STORAGE, name="single"))

    with pytest.raises(ManifestError) as raised:
        read_chain(tmp_path)

    assert str(raised.value) == (
        f"{tmp_path} holds 2 chains, resnet50 ({tmp_path}/resnet50.yaml), single ({tmp_path}/single.yaml): "
        f"choose one by its file, e.g. {tmp_path}/resnet50.yaml"
    )
    assert read_chain(tmp_path / "single.yaml").name == "single"
