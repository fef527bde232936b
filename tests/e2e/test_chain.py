"""Three predictors, a transformer and a router as real processes, asked as users ask them."""

import base64
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import psutil
import pytest
import requests
import torch
from e2e.conftest import Up, shardline, up, up_manifests
from services.processes import ROOT, wait_until

from shardline.partition.build import BuildOptions, build
from shardline.partition.device import use_threads
from shardline.partition.models import load_model
from shardline.partition.verify import LocalChain
from shardline.predictors.picture import pixel_batch
from shardline.storage.bundle_folder import open_bundle
from shardline.tasks.registry import task_reply
from shardline.tasks.request import Request

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=["residual", pytest.param("vision_transformer", marks=pytest.mark.heavy)])
def bundle(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A convolutional network and a vision transformer, each in three stages."""
    folder = tmp_path_factory.mktemp("bundles") / "net"
    model = load_model(f"services.small_models:{request.param}", size=32)
    pictures = np.random.default_rng(0).integers(0, 256, (2, 3, 32, 32), dtype=np.uint8)
    build(model, "net", pictures, BuildOptions(stages=3), folder)
    return folder


@pytest.fixture(scope="module")
def chain(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with up(bundle, tmp_path_factory.mktemp("up")) as started:
        yield started


def whole_reply(bundle: Path, picture: bytes) -> list[dict[str, object]]:
    """What the whole model, uncut, answers to one picture, with as many threads as a stage has."""
    before = torch.get_num_threads()
    use_threads()
    try:
        reference = LocalChain(bundle)
        pixels = pixel_batch([picture], reference.bundle.picture, reference.bundle.limits)
        outputs = reference.run_reference(pixels)[-1]
    finally:
        torch.set_num_threads(before)
    return list(
        json.loads(json.dumps(task_reply("classify")(Request(outputs=outputs, labels=reference.bundle.task.labels))))
    )


def test_a_raw_photograph_is_answered_as_the_whole_model_answers(
    chain: Up, bundle: Path, photographs: list[bytes]
) -> None:
    for picture in photographs[:5]:
        reply = chain.post(picture)

        assert reply.status_code == 200
        assert reply.headers["content-type"].startswith("application/json")
        assert reply.json() == {"predictions": whole_reply(bundle, picture)}


def test_v1_json_is_answered_alike(chain: Up, bundle: Path, photographs: list[bytes]) -> None:
    encoded = base64.b64encode(photographs[0]).decode()
    body = {"instances": [{"image_bytes": {"b64": encoded}}], "parameters": {"top": 3, "timings": True}}

    document = requests.post(chain.url, json=body, timeout=60).json()
    expected = whole_reply(bundle, photographs[0])

    assert document["predictions"][0]["index"] == expected[0]["index"]
    assert len(document["predictions"][0]["top"]) == 3
    assert set(document["timings"]) == {"transformer", "0", "1", "2"}


def test_pictures_in_one_request_are_answered_as_if_each_had_come_alone(
    chain: Up, bundle: Path, photographs: list[bytes]
) -> None:
    chosen = photographs[:3]
    body = {"instances": [{"data": base64.b64encode(picture).decode()} for picture in chosen]}

    document = requests.post(chain.url, json=body, timeout=60).json()

    assert document["predictions"] == [whole_reply(bundle, picture)[0] for picture in chosen]


def test_200_requests_of_8_clients_at_once_are_each_equal_to_the_whole(
    chain: Up, bundle: Path, photographs: list[bytes]
) -> None:
    chosen = photographs[:10]
    expected = [whole_reply(bundle, picture) for picture in chosen]
    todo = list(range(200))
    wrong: list[object] = []

    def client() -> None:
        with requests.Session() as session:
            while todo:
                index = todo.pop() % len(chosen)
                reply = session.post(chain.url, data=chosen[index], timeout=60)
                if reply.status_code != 200 or reply.json()["predictions"] != expected[index]:
                    wrong.append((reply.status_code, reply.text[:200]))

    threads = [threading.Thread(target=client) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert wrong == []


def test_errors_keep_their_status_and_cause_through_the_graph(chain: Up) -> None:
    cases = {
        b"hello": (400, "transformer net-pre"),
        b'{"instances": []}': (400, "instances"),
        b'{"instances": [{"data": "aGVsbG8="}]}': (400, "instance 0"),
        bytes(33 * 1024**2): (413, "33554432"),
    }
    for body, (status, text) in cases.items():
        reply = chain.post(body)

        assert (reply.status_code, text in reply.json()["error"]) == (status, True), reply.text


def test_a_parameter_that_the_last_stage_refuses_comes_back_as_400(chain: Up, photographs: list[bytes]) -> None:
    body = {"instances": [base64.b64encode(photographs[0]).decode()], "parameters": {"top": 0}}

    reply = requests.post(chain.url, json=body, timeout=60)

    assert reply.status_code == 400
    assert reply.json()["error"].startswith("net-2: ")


def test_the_client_script_shows_the_reply(chain: Up, bundle: Path, tmp_path: Path, photographs: list[bytes]) -> None:
    (tmp_path / "photo one.jpg").write_bytes(photographs[0])
    command = [sys.executable, str(ROOT / "client" / "request.py"), "photo one.jpg", "--url", chain.url, "--json"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True)

    line = json.loads(result.stdout)
    assert line == {"image": "photo one.jpg", "predictions": whole_reply(bundle, photographs[0])}


def test_the_command_finds_the_path_by_itself(chain: Up, tmp_path: Path, photographs: list[bytes]) -> None:
    (tmp_path / "photo.jpg").write_bytes(photographs[0])
    base = chain.url.partition("/v1")[0]

    result = shardline("request", str(tmp_path / "photo.jpg"), "--url", base, "--json")

    assert "predictions" in json.loads(result.stdout)


@pytest.fixture(scope="module")
def own_chain(small_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """A chain whose processes tests may kill; the last of them ends it."""
    with up(small_bundle, tmp_path_factory.mktemp("own")) as started:
        yield started


def test_killed_stages_give_errors_that_name_them_and_come_back(own_chain: Up, photographs: list[bytes]) -> None:
    good = own_chain.post(photographs[0]).json()
    replies: list[requests.Response] = []
    enough = threading.Event()

    def client() -> None:
        while not enough.is_set():
            replies.append(own_chain.post(photographs[0]))

    def has_failed_since(count: int) -> bool:
        return any(reply.status_code >= 500 for reply in replies[count:])

    threads = [threading.Thread(target=client) for _ in range(4)]
    for thread in threads:
        thread.start()
    for stage in (1, 0):
        seen = len(replies)
        own_chain.child(f"small-{stage}").kill()
        wait_until(partial(has_failed_since, seen), f"errors of stage {stage}")
        wait_until(lambda: own_chain.post(photographs[0]).status_code == 200, f"stage {stage} again")
    enough.set()
    for thread in threads:
        thread.join()
    bad = [reply for reply in replies if reply.status_code != 200]

    assert all(reply.json() == good for reply in replies if reply.status_code == 200)
    assert {reply.status_code for reply in bad} <= {500, 503}
    for reply in bad:
        document = reply.json()
        assert "127.0.0.1" in document.get("cause", "") or "small-0" in document["error"], document
    assert "small-1" in own_chain.log.read_text()


def test_ctrl_c_leaves_no_process(own_chain: Up) -> None:
    children = own_chain.children()
    own_chain.process.send_signal(2)
    own_chain.process.wait(30)

    assert len(children) == 6  # the supervisor, four servers and the router
    assert not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in children)


def test_a_single_stage_needs_no_graph(single_bundle: Path, tmp_path: Path, photographs: list[bytes]) -> None:
    with up(single_bundle, tmp_path) as chain:
        reply = chain.post(photographs[0])
        (tmp_path / "photo.jpg").write_bytes(photographs[0])
        found = shardline("request", str(tmp_path / "photo.jpg"), "--url", chain.url.partition("/v1")[0], "--json")

    assert reply.json() == {"predictions": whole_reply(single_bundle, photographs[0])}
    assert json.loads(found.stdout)["predictions"] == reply.json()["predictions"]


def test_two_replicas_answer_alike(small_bundle: Path, tmp_path: Path, photographs: list[bytes]) -> None:
    with up(small_bundle, tmp_path, render=["--replicas", "2"]) as chain:
        served = [process for process in chain.children() if "shardline.predictors.shard" in process.cmdline()]
        replies = [chain.post(picture).json()["predictions"] for picture in photographs[:6]]

    assert len(served) == 6
    assert replies == [whole_reply(small_bundle, picture) for picture in photographs[:6]]


def test_a_half_rolled_out_chain_answers_409(
    small_bundle: Path, other_bundle: Path, tmp_path: Path, photographs: list[bytes]
) -> None:
    """Stages 0 and 1 of one bundle, stage 2 of another."""
    shardline("render", str(small_bundle), "--out", str(tmp_path / "old"))
    shardline("render", str(other_bundle), "--out", str(tmp_path / "new"), "--name", "small")
    old, new = ((tmp_path / each / "small.yaml").read_text().split("---\n") for each in ("old", "new"))
    last = next(index for index, document in enumerate(old) if "\n  name: small-2\n" in document)
    (tmp_path / "mixed").mkdir()
    (tmp_path / "mixed" / "small.yaml").write_text("---\n".join([*old[:last], new[last], *old[last + 1 :]]))

    with up_manifests(tmp_path / "mixed", tmp_path) as chain:
        reply = chain.post(photographs[0])

    assert reply.status_code == 409
    assert reply.json()["error"].startswith("small-2: the frame belongs to bundle ")
    assert open_bundle(other_bundle).digest in reply.json()["error"]
