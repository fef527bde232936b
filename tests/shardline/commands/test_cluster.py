"""deploy, status, rollback and undeploy as they are typed: a bucket's emulator, a scripted cluster, real processes."""

import json
import signal
import subprocess
from typing import Any
from uuid import uuid4

import pytest
from services.bucket import shardline as start
from services.cli import run_command as shardline
from services.processes import wait_until
from services.versions import Place, Version

from shardline.storage.open import open_store

pytestmark = pytest.mark.slow


@pytest.fixture
def uri(emulator: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", emulator)
    return f"gs://models/{uuid4().hex}"


@pytest.fixture
def typed(uri: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """typed(place, "deploy", version): the command in a process of its own; `code` is its exit code."""

    def run(place: Place, *words: "str | Version", code: int = 0) -> "subprocess.CompletedProcess[str]":
        monkeypatch.setenv("KUBECONFIG", str(place.api.kubeconfig))
        return shardline(*(each for word in words for each in spelled(word, uri)), code=code)

    return run


def spelled(word: "str | Version", uri: str) -> list[str]:
    return [word] if isinstance(word, str) else [str(word.folder), "--to", uri, "--name", word.name]


def test_from_the_first_deploy_to_the_last_undeploy(
    typed: Any, place: Place, first: Version, second: Version, uri: str
) -> None:
    deployed = typed(place, "deploy", first)
    assert deployed.stdout.splitlines() == [
        f"chain revision 1 answers in namespace vision: {first.bundle.digest}",
        "golden picture: equal to the whole model's reply, to the last digit",
    ]
    assert "switching the graph" in deployed.stderr
    assert "bundle.json" in open_store(f"{uri}/chain/{first.bundle.digest.removeprefix('sha256:')}").names()

    typed(place, "deploy", second)
    back = typed(place, "rollback", "chain")
    assert f"chain revision 3 answers in namespace vision: {first.bundle.digest}" in back.stdout

    text = typed(place, "status", "chain", "--namespace", "vision").stdout
    assert text.splitlines()[:5] == [
        "chain in namespace vision: ready",
        "  graph chain: ready (router 1/1)",
        f"  transformer chain-{first.short}-pre: ready (predictor 1/1)",
        f"  stage 0 {first.services[0]}: ready (predictor 1/1)",
        f"  stage 1 {first.services[1]}: ready (predictor 1/1)",
    ]
    rows = [line.split() for line in text.splitlines() if line.startswith("  revision")]
    digests = [version.bundle.digest.removeprefix("sha256:") for version in (first, second, first)]
    assert [row[:3] for row in rows] == [["revision", str(number), "deployed"] for number in (1, 2, 3)]
    assert [row[4] for row in rows] == [f"{uri}/chain/{digest}" for digest in digests]

    undeployed = typed(place, "undeploy", "chain")
    assert undeployed.stdout == "chain: 8 objects deleted from namespace vision\n"
    assert place.names("InferenceService") == []
    assert "nothing is deployed in namespace vision" in typed(place, "status", code=1).stderr


def test_a_dry_run_changes_nothing(typed: Any, place: Place, first: Version, second: Version, uri: str) -> None:
    empty = typed(place, "deploy", first, "--dry-run")
    assert place.seen("PATCH", "DELETE", "POST") == []
    assert open_store("gs://models").names(uri.removeprefix("gs://models/")) == []

    typed(place, "deploy", first)
    before = len(place.seen("PATCH", "DELETE"))
    same = typed(place, "deploy", first, "--dry-run").stdout.splitlines()
    other = typed(place, "deploy", second, "--dry-run").stdout.splitlines()

    assert "dry run: chain sha256:" in empty.stderr
    assert empty.stdout.splitlines()[0].startswith("chain revision 1 in namespace vision, http")
    assert f"create    InferenceService {first.services[0]}" in empty.stdout
    assert "create    InferenceGraph chain" in empty.stdout
    assert same[0].startswith("chain revision 2 in")
    assert {line.split()[0] for line in same[1:]} == {"keep"}
    assert f"create    InferenceService {second.services[0]}" in other
    assert f"delete    InferenceService {first.services[0]}" in other
    changed = other[other.index("change    InferenceGraph chain") + 1]
    assert first.short in changed
    assert second.short in changed
    assert len(place.seen("PATCH", "DELETE")) == before


def test_a_dry_run_that_the_cluster_refuses(typed: Any, place: Place, first: Version) -> None:
    place.api.refuse({"method": "PATCH", "path": first.services[1], "status": 403, "message": "denied: too big"})

    failed = typed(place, "deploy", first, "--dry-run", code=1)

    assert f"refused   InferenceService {first.services[1]}" in failed.stdout
    assert "denied: too big" in failed.stdout


def test_a_dry_run_in_a_new_namespace(typed: Any, place: Place, first: Version) -> None:
    place.api.refuse({"method": "GET", "path": "/namespaces/new", "status": 404, "message": "not found", "times": 9})

    failed = typed(place, "deploy", first, "--dry-run", "--namespace", "new", code=1)
    created = typed(place, "deploy", first, "--dry-run", "--namespace", "new", "--create-namespace")

    assert "there is no namespace new: give --create-namespace" in failed.stderr
    assert created.stdout.splitlines()[1] == "create    Namespace new"


def test_a_dry_run_without_a_cluster(typed: Any, place: Place, first: Version) -> None:
    place.api.stop()

    rendered = typed(place, "deploy", first, "--dry-run")

    assert "no cluster was asked, the objects were rendered and linted only" in rendered.stderr
    assert f"rendered  InferenceService {first.services[0]}" in rendered.stdout


def test_a_deploy_that_fails_is_one_line_and_status_tells_why(
    typed: Any, make_place: Any, first: Version, second: Version
) -> None:
    ended = "error: stages/1/shard.pt2 is missing"
    place = make_place(first, second, broken={f"{second.services[1]}-predictor": ended})
    typed(place, "deploy", first)
    failed = typed(place, "deploy", second, "--wait", "1", code=1)
    shown = typed(place, "status", code=1).stdout
    found = json.loads(typed(place, "status", "--json", code=1).stdout)

    assert failed.stdout == ""
    assert "revision 2 of chain: the stages did not get ready within 1 s" in failed.stderr.splitlines()[-1]
    assert ended in failed.stderr.splitlines()[-1]
    assert shown.splitlines()[0] == "chain in namespace vision: ready"
    assert "chain revision 2, rollout not finished: not ready" in shown
    assert ended in shown
    [chain] = found
    assert (chain["name"], chain["namespace"], chain["ready"]) == ("chain", "vision", False)
    assert (chain["live"]["ready"], chain["begun"]["ready"]) == (True, False)
    steps = [f"chain-{second.short}-pre", *second.services]
    assert [stage["service"] for stage in chain["begun"]["stages"]] == steps
    assert [(each["revision"], each["phase"]) for each in chain["revisions"]] == [(1, "deployed"), (2, "pending")]


def test_status_of_one_that_was_switched_to_and_not_finished(typed: Any, make_version: Any, make_place: Any) -> None:
    wrong = make_version("wrong", router={"status": 500})
    place = make_place(wrong)
    typed(place, "deploy", wrong, code=1)
    shown = typed(place, "status", code=1).stdout

    assert shown.splitlines()[0] == "chain in namespace vision: ready"
    assert "the rollout of revision 1 was not finished: run shardline deploy again, or shardline rollback" in shown


def test_ctrl_c_while_it_waits(uri: str, make_place: Any, first: Version) -> None:
    """What was begun stays, and status shows it."""
    place = make_place(first, broken={f"{first.services[0]}-predictor": "error"})
    env = {"KUBECONFIG": str(place.api.kubeconfig)}
    process = start("deploy", *spelled(first, uri), env=env)
    wait_until(lambda: bool(place.seen("GET /api/v1/namespaces/vision/pods")), "it waits for the stages")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)

    assert process.returncode == 130
    assert "Traceback" not in err
    assert err.splitlines()[-1] == (
        "revision 1 of chain: stopped; the graph was not changed; shardline undeploy chain --namespace vision deletes "
        "the new stages"
    )
    assert place.phases() == [(1, "pending")]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("status", "cahin"), "namespace vision has no InferenceGraph or InferenceService 'cahin'"),
        (("status", "--namespace", "empty"), "nothing is deployed in namespace empty"),
        (("status", "--context", "nowhere"), "nowhere"),
        (("rollback", "chain"), "nothing was deployed as chain in namespace vision"),
        (("undeploy", "chain"), "nothing was deployed as chain in namespace vision"),
        (("deploy", "tests", "--to", "gs://models"), "tests/bundle.json cannot be read"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_one_line_for_every_mistake(typed: Any, place: Place, words: tuple[str, ...], said: str) -> None:
    failed = typed(place, *words, code=1)

    assert failed.stdout == ""
    [line] = failed.stderr.splitlines()
    assert line.startswith("error: ")
    assert said in line


def test_no_cluster_at_all(typed: Any, place: Place) -> None:
    place.api.stop()
    failed = typed(place, "status", code=1)

    assert failed.stderr.splitlines() == [
        f"error: look up serving.kserve.io/v1alpha1: {place.api.url} does not answer (Connection refused)"
    ]
