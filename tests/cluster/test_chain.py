"""A chain on a real KServe: deployed, asked, a pod pulled, a version rolled out and back under load."""

import json
import subprocess
from pathlib import Path

import pytest
from cluster.conftest import NAME, Place, Version, client_request, stage_name
from services.load import Outcome, load
from services.processes import ROOT, wait_until

pytestmark = pytest.mark.slow

MANIFESTS = ROOT / "manifests" / "resnet50"


def test_deploy_says_that_the_chain_replies_as_the_whole_model(deployed: str, first: Version) -> None:
    assert "revision 1 answers in namespace shardline-e2e-" in deployed
    assert first.bundle.digest in deployed
    assert "golden picture: equal to the whole model's reply, to the last digit" in deployed


@pytest.mark.usefixtures("deployed")
def test_every_pod_runs_and_its_shard_was_fetched_by_kserve_s_initializer(place: Place, first: Version) -> None:
    pods = place.pods()
    fetched = {
        container["args"][0]
        for pod in pods
        for container in pod["spec"].get("initContainers", [])
        if container["name"] == "storage-initializer"
    }
    folder = f"{place.bucket}/{NAME}/{first.bundle.digest.removeprefix('sha256:')}"

    assert {pod["status"]["phase"] for pod in pods} == {"Running"}
    assert len(pods) == 5  # three shards, the transformer, the router
    assert fetched == {f"{folder}/stages/{index}" for index in range(3)}


@pytest.mark.usefixtures("deployed")
def test_the_client_finds_the_chain_and_is_answered_as_the_whole_model_answers(
    place: Place, first: Version, photo_files: list[Path], photos: list[bytes]
) -> None:
    for picture, expected in zip(photo_files, first.replies(photos), strict=True):
        result = client_request(picture, "--kserve", "--namespace", place.namespace, "--json")

        assert result.returncode == 0, result.stderr
        assert json.loads(result.stdout)["predictions"] == expected["predictions"]


def test_a_deleted_pod_costs_only_errors_that_name_its_stage(
    place: Place, first: Version, url: str, photos: list[bytes]
) -> None:
    expected = first.replies(photos)
    [pod] = place.stage_pods(first, 1)
    with load(url, photos, clients=4) as clients:
        wait_until(lambda: len(clients.answered()) > 8, "answers before")
        place.cluster.delete("Pod", place.namespace, pod["metadata"]["name"])
        wait_until(lambda: len(clients.failed()) > 0 or _is_replaced(place, first, pod), "it is gone")
        wait_until(lambda: _is_replaced(place, first, pod), "a new pod is ready")
        before = len(clients.answered())
        wait_until(lambda: len(clients.answered()) > before + 8, "answers after")

    assert_right(clients.answered(), expected)
    assert {outcome.status for outcome in clients.failed()} <= {500}
    assert all(stage_name(first, 1) in outcome.text for outcome in clients.failed())


def test_of_two_replicas_one_goes_unnoticed(place: Place, first: Version, url: str, photos: list[bytes]) -> None:
    place.deploy(first.folder, "--replicas", "2")
    expected = first.replies(photos)
    pods = place.stage_pods(first, 1)
    with load(url, photos, clients=4) as clients:
        wait_until(lambda: len(clients.answered()) > 8, "answers before")
        place.cluster.delete("Pod", place.namespace, pods[0]["metadata"]["name"])
        wait_until(lambda: _is_replaced(place, first, pods[0]), "a new pod is ready")
        before = len(clients.answered())
        wait_until(lambda: len(clients.answered()) > before + 8, "answers after")

    assert len(pods) == 2
    assert clients.failed() == []
    assert_right(clients.answered(), expected)
    place.deploy(first.folder)


def test_a_second_version_and_the_way_back_lose_nothing_and_mix_nothing(
    place: Place, first: Version, second: Version, url: str, photos: list[bytes]
) -> None:
    old, new = first.replies(photos), second.replies(photos)
    with load(url, photos, clients=4) as clients:
        rolled_out = place.deploy(second.folder)
        last = len(clients.outcomes)
        wait_until(lambda: len(clients.outcomes) > last + 8, "answers of the second version")
        after = clients.outcomes[last + 4 : last + 8]
        rolled_back = place.shardline("rollback", NAME, "--wait", "300")
        last = len(clients.outcomes)
        wait_until(lambda: len(clients.outcomes) > last + 8, "answers of the first version again")
        again = clients.outcomes[last + 4 : last + 8]

    assert old != new
    assert "to the last digit" in rolled_out.stdout
    assert "to the last digit" in rolled_back.stdout
    assert clients.failed() == []
    for outcome in clients.answered():
        assert json.loads(outcome.text) in (old[outcome.picture], new[outcome.picture])
    assert_right(after, new)
    assert_right(again, old)
    assert place.stage_pods(second, 0) == []


def test_status_shows_that_all_is_ready(place: Place, first: Version, deployed: str) -> None:  # noqa: ARG001
    text = place.shardline("status").stdout

    assert f"{NAME} in namespace {place.namespace}: ready" in text
    assert f"stage 2 {stage_name(first, 2)}: ready" in text


@pytest.mark.parametrize("overlay", ["base", "overlays/cpu", "overlays/gpu"])
def test_the_cluster_takes_the_committed_manifests(overlay: str) -> None:
    command = ["kubectl", "apply", "--server-side", "--dry-run=server", "--validate=strict"]
    built = subprocess.run(["kubectl", "kustomize", str(MANIFESTS / overlay)], capture_output=True, check=True)
    result = subprocess.run([*command, "-f", "-"], input=built.stdout, capture_output=True, check=False)

    assert result.returncode == 0, result.stderr.decode()
    assert result.stdout.decode().count("serverside-applied (server dry run)") >= 5


def assert_right(outcomes: list[Outcome], expected: list[dict[str, object]]) -> None:
    for outcome in outcomes:
        assert json.loads(outcome.text) == expected[outcome.picture]


def _is_replaced(place: Place, version: Version, gone: dict[str, object]) -> bool:
    pods = place.stage_pods(version, 1)
    names = {pod["metadata"]["name"] for pod in pods}
    ready = [
        pod
        for pod in pods
        if any(
            condition["type"] == "Ready" and condition["status"] == "True"
            for condition in pod["status"].get("conditions", [])
        )
    ]
    return gone["metadata"]["name"] not in names and bool(ready)  # type: ignore[index]
