"""One stage as a real process: its answers, its refusals, its start and its end."""

import asyncio
import json
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import requests
from services.chains import one_by_one
from services.processes import ROOT, answers, free_port, server, stop, wait_until

from shardline.partition.runtime import Golden
from shardline.partition.verify import LocalChain
from shardline.predictors.shard import ShardPredictor
from shardline.predictors.worker import now_ms
from shardline.storage.bundle import Bundle, parse_bundle
from shardline.storage.bundle_folder import open_bundle
from shardline.wire.errors import BundleError
from shardline.wire.frame import Frame, decode, encode

pytestmark = pytest.mark.slow


@dataclass(frozen=True, slots=True)
class Served:
    url: str
    process: "subprocess.Popen[bytes]"

    def post(self, body: bytes, **headers: str) -> requests.Response:
        return requests.post(self.url, data=body, headers=headers, timeout=60)


@pytest.fixture(scope="module")
def bundle(small_bundle: Path) -> Bundle:
    return open_bundle(small_bundle)


@pytest.fixture(scope="module")
def serve(
    small_bundle: Path, bundle: Bundle, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[int], Served]]:
    """`serve(i)`: stage i of the small bundle as a process, started once."""
    folder = tmp_path_factory.mktemp("logs")
    started: dict[int, Served] = {}
    contexts = []

    def start(stage: int) -> Served:
        if stage not in started:
            port = free_port()
            context = server(
                "shardline.predictors.shard",
                f"--model_dir={small_bundle}/stages/{stage}",
                f"--bundle_digest={bundle.digest}",
                log=folder / f"{stage}.log",
                name=f"small-{stage}",
                port=port,
            )
            contexts.append(context)
            started[stage] = Served(f"http://127.0.0.1:{port}/v1/models/small-{stage}:predict", context.__enter__())
        return started[stage]

    yield start
    for context in contexts:
        context.__exit__(None, None, None)


@pytest.fixture
def pixels(bundle: Bundle) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, bundle.stages[0].inputs[0].shape_for(2), dtype=np.uint8)


@pytest.fixture
def frame(bundle: Bundle, pixels: np.ndarray) -> Frame:
    return Frame(
        tensors={"pixels": pixels}, bundle=bundle.digest, stage=0, request_id="r1", timings={"transformer": 1.5}
    )


def error_of(reply: requests.Response) -> str:
    return str(reply.json()["error"])


def test_a_frame_goes_in_and_the_next_stage_s_frame_comes_out(
    serve: Callable[[int], Served], small_bundle: Path, frame: Frame, pixels: np.ndarray
) -> None:
    reply = serve(0).post(encode(frame), **{"content-type": "application/json"})
    found = decode(reply.content)

    assert reply.status_code == 200
    assert reply.headers["content-type"] == "application/x-shardline-frame"
    assert (found.stage, found.bundle, found.request_id) == (1, frame.bundle, "r1")
    assert list(found.timings) == ["transformer", "0"]
    for name, expected in one_by_one(small_bundle, pixels)[0].items():
        assert np.array_equal(found.tensors[name], expected)


def test_the_last_stage_answers_v1_json(
    serve: Callable[[int], Served], small_bundle: Path, frame: Frame, pixels: np.ndarray
) -> None:
    stages = one_by_one(small_bundle, pixels)
    last = replace(frame, tensors=stages[1], stage=2, parameters={"top": 3, "timings": True})

    reply = serve(2).post(encode(last))
    document = reply.json()

    assert reply.headers["content-type"] == "application/json"
    assert [prediction["index"] for prediction in document["predictions"]] == stages[2]["output"].argmax(1).tolist()
    assert [len(prediction["top"]) for prediction in document["predictions"]] == [3, 3]
    assert set(document["timings"]) == {"transformer", "2"}


def spoilt(frame: Frame, value: np.ndarray) -> bytes:
    return encode(replace(frame, tensors={"pixels": value}))


BAD_FRAMES: dict[str, tuple[Callable[[Frame, np.ndarray], bytes], int, str]] = {
    "another bundle": (
        lambda f, _: encode(replace(f, bundle="sha256:" + "0" * 64)),
        409,
        "belongs to bundle sha256:000",
    ),
    "another stage": (lambda f, _: encode(replace(f, stage=1)), 409, "the frame is for stage 1, this is stage 0"),
    "another dtype": (lambda f, p: spoilt(f, p.astype(np.float32)), 400, "has dtype F32, allowed is U8"),
    "another shape": (lambda f, p: spoilt(f, p[:, :, :5]), 400, "has shape .*allowed is"),
    "an axis more": (lambda f, p: spoilt(f, p[None]), 400, "has shape .*allowed is"),
    "no tensor": (lambda f, _: encode(replace(f, tensors={})), 400, "pixels is missing"),
    "a tensor more": (lambda f, p: encode(replace(f, tensors={"pixels": p, "x": p})), 400, "x is unknown"),
    "an empty batch": (lambda f, p: spoilt(f, p[:0]), 400, "has shape"),
    "cut short": (lambda f, _: encode(f)[:-1], 400, "frame"),
    "bytes behind": (lambda f, _: encode(f) + b"x", 400, "frame"),
    "a picture": (lambda _, __: b"\xff\xd8\xff\xe0 not for a stage", 400, "takes frames, not pictures"),
    "v1 JSON": (lambda _, __: b'{"instances": [1]}', 400, "takes frames, not pictures"),
    "nothing": (lambda _, __: b"", 400, "takes frames"),
    "a passed deadline": (lambda f, _: encode(replace(f, deadline_ms=now_ms() - 5)), 504, "nothing was computed"),
}


@pytest.mark.parametrize("case", BAD_FRAMES)
def test_a_bad_frame_gets_its_status_and_one_clear_line(
    case: str, serve: Callable[[int], Served], frame: Frame, pixels: np.ndarray
) -> None:
    make, status, message = BAD_FRAMES[case]

    reply = serve(0).post(make(frame, pixels))

    assert reply.status_code == status
    assert error_of(reply).startswith("small-0: ")
    assert re.search(message, error_of(reply))
    assert serve(0).post(encode(frame)).status_code == 200  # and the stage goes on


def test_nan_in_a_frame_is_refused(
    serve: Callable[[int], Served], small_bundle: Path, frame: Frame, pixels: np.ndarray
) -> None:
    tensors = dict(LocalChain(small_bundle).run_stages(pixels)[0])
    name = next(iter(tensors))
    tensors[name] = tensors[name].copy()
    tensors[name].flat[0] = np.nan

    reply = serve(1).post(encode(replace(frame, tensors=tensors, stage=1)))

    assert (reply.status_code, error_of(reply).count(f"{name} holds NaN")) == (400, 1)


def test_an_unknown_parameter_is_the_client_s_fault(
    serve: Callable[[int], Served], small_bundle: Path, frame: Frame, pixels: np.ndarray
) -> None:
    tensors = LocalChain(small_bundle).run_stages(pixels)[1]

    reply = serve(2).post(encode(replace(frame, tensors=tensors, stage=2, parameters={"bottom": 3})))

    assert reply.status_code == 400
    assert "bottom" in error_of(reply)


def test_other_paths_answer_as_kserve_does(serve: Callable[[int], Served]) -> None:
    base = serve(0).url.partition("/v1")[0]

    assert requests.get(f"{base}/v1/models/small-0", timeout=10).json() == {"name": "small-0", "ready": True}
    assert requests.post(f"{base}/v1/models/nobody:predict", data=b"{}", timeout=10).status_code == 404
    assert requests.post(f"{base}/v2/models/small-0/infer", json={"inputs": []}, timeout=10).status_code in {400, 422}


def spoil_file(folder: Path, name: str) -> None:
    data = bytearray((folder / name).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / name).write_bytes(data)


BAD_FOLDERS: dict[str, tuple[Callable[[Path, Path], object], str]] = {
    "altered shard": (lambda folder, _: spoil_file(folder, "shard.pt2"), "stages/1/shard.pt2 has sha256"),
    "missing shard": (lambda folder, _: (folder / "shard.pt2").unlink(), "stages/1/shard.pt2 is missing"),
    "missing golden": (lambda folder, _: (folder / "golden.safetensors").unlink(), "golden.safetensors is missing"),
    "short shard": (lambda folder, _: (folder / "shard.pt2").write_bytes(b"PK"), "has 2 bytes, the bundle lists"),
    "another bundle's": (
        lambda folder, other: shutil.copytree(other / "stages" / "1", folder, dirs_exist_ok=True),
        "the shard belongs to bundle",
    ),
    "an empty folder": (lambda folder, _: shutil.rmtree(folder), "cannot be read"),
}


@pytest.mark.parametrize("case", BAD_FOLDERS)
def test_a_bad_shard_is_refused_before_it_is_loaded(
    case: str, small_bundle: Path, other_bundle: Path, bundle: Bundle, tmp_path: Path
) -> None:
    spoil, message = BAD_FOLDERS[case]
    folder = tmp_path / "models"
    shutil.copytree(small_bundle / "stages" / "1", folder)
    spoil(folder, other_bundle)

    with pytest.raises(BundleError) as raised:
        ShardPredictor("x", folder, bundle.digest).load()
    assert message in str(raised.value)


def test_a_shard_of_another_torch_ends_the_process_with_one_line_before_its_port_opens(
    small_bundle: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "models"
    shutil.copytree(small_bundle / "stages" / "1", folder)
    document = json.loads((folder / "bundle.json").read_bytes())
    document["torch_version"] = "1.13.0"
    (folder / "bundle.json").write_text(json.dumps(document, indent=1, sort_keys=True) + "\n")
    command = [sys.executable, "-m", "shardline.predictors.shard", "--model_name=x", f"--model_dir={folder}"]
    result = subprocess.run(
        [*command, f"--http_port={free_port()}"], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )

    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    (error,) = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert "built with torch 1.13.0" in error


def test_random_weights_stand_in_the_reply(small_bundle: Path, tmp_path: Path) -> None:
    folder = tmp_path / "models"
    shutil.copytree(small_bundle / "stages" / "2", folder)
    document = {**json.loads((folder / "bundle.json").read_bytes()), "weights": "random:7"}
    (folder / "bundle.json").write_text(json.dumps(document, indent=1, sort_keys=True) + "\n")
    digest = parse_bundle((folder / "bundle.json").read_bytes()).digest
    model = ShardPredictor("x", folder)
    model.load()

    frame = Frame(tensors=Golden.load(folder).inputs, bundle=digest, stage=2)
    reply = json.loads(b"".join(asyncio.run(model.answer(encode(frame), {})).parts))

    assert reply.keys() == {"predictions", "model"}
    assert reply["model"] == {"weights": "random:7"}


@pytest.fixture
def slow(slow_bundle: Path, tmp_path: Path) -> Iterator[Served]:
    port = free_port()
    arguments = (f"--model_dir={slow_bundle}/stages/0", "--max_queue=1")
    with server("shardline.predictors.shard", *arguments, log=tmp_path / "log", name="slow", port=port) as process:
        yield Served(f"http://127.0.0.1:{port}/v1/models/slow:predict", process)


def slow_frame(slow_bundle: Path) -> bytes:
    return encode(
        Frame(tensors={"pixels": np.zeros((1, 3, 128, 128), np.uint8)}, bundle=open_bundle(slow_bundle).digest, stage=0)
    )


def post_at_once(served: Served, body: bytes, count: int) -> tuple[list[threading.Thread], list[requests.Response]]:
    replies: list[requests.Response] = []
    threads = [threading.Thread(target=lambda: replies.append(served.post(body))) for _ in range(count)]
    for thread in threads:
        thread.start()
    return threads, replies


def test_a_full_queue_is_503_and_liveness_answers_meanwhile(slow: Served, slow_bundle: Path) -> None:
    threads, replies = post_at_once(slow, slow_frame(slow_bundle), 8)
    wait_until(lambda: any(reply.status_code == 503 for reply in replies), "a refusal")
    alive = answers(slow.url.partition("/v1")[0] + "/")
    running = sum(thread.is_alive() for thread in threads)
    for thread in threads:
        thread.join()
    refused = [reply for reply in replies if reply.status_code == 503]

    assert alive
    assert running > 0
    assert len(refused) + sum(reply.status_code == 200 for reply in replies) == 8
    assert all(reply.headers["retry-after"] == "1" for reply in refused)
    assert "1 requests wait already" in error_of(refused[0])
    assert slow.post(slow_frame(slow_bundle)).status_code == 200


def test_sigterm_lets_running_and_waiting_requests_finish(slow: Served, slow_bundle: Path) -> None:
    threads, replies = post_at_once(slow, slow_frame(slow_bundle), 3)
    wait_until(lambda: any(reply.status_code == 503 for reply in replies), "one running, one waiting, one refused")
    code = stop(slow.process, signal.SIGTERM)
    for thread in threads:
        thread.join()

    assert sorted(reply.status_code for reply in replies) == [200, 200, 503]
    assert code in {0, -signal.SIGTERM}
