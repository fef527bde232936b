"""A stage's real process runs the compiled shard or the portable one, says which, and passes bfloat16 on."""

import sys
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
import requests
from services.processes import free_port, running, server, wait_until

from shardline.partition.runtime import load_shard
from shardline.partition.verify import LocalChain
from shardline.storage.bundle import stage_folder
from shardline.storage.bundle_folder import open_bundle
from shardline.tasks.registry import task_reply
from shardline.tasks.request import Request
from shardline.wire.frame import Frame, decode, encode

pytestmark = pytest.mark.slow


def pixels(batch: int) -> np.ndarray:
    return np.random.default_rng(batch).integers(0, 256, (batch, 3, 32, 32), dtype=np.uint8)


def ask(port: int, name: str, body: bytes) -> requests.Response:
    reply = requests.post(f"http://127.0.0.1:{port}/v1/models/{name}:predict", data=body, timeout=60)
    assert reply.status_code == 200, reply.text
    return reply


@pytest.mark.parametrize(
    ("program", "line"),
    [
        ("auto", "stage 0 runs compiled/cpu/any.pt2"),
        ("portable", "stage 0 runs shard.pt2, no compiled package: as requested"),
    ],
)
def test_what_runs_is_logged_and_answers(program: str, line: str, compiled_bundle: Path, tmp_path: Path) -> None:
    bundle, folder = open_bundle(compiled_bundle), compiled_bundle / stage_folder(0)
    arguments = (f"--model_dir={folder}", f"--program={program}", "--max_batch_size=1")
    port, log = free_port(), tmp_path / "log"
    expected = load_shard(folder, program=program).run({"pixels": pixels(1)})

    with server("shardline.predictors.shard", *arguments, log=log, name="stage", port=port):
        body = encode(Frame(tensors={"pixels": pixels(1)}, bundle=bundle.digest, stage=0))
        found = ask(port, "stage", body).json()["predictions"]

    assert found == task_reply(bundle.task.name)(Request(outputs=expected, labels=bundle.task.labels))
    assert [text for text in log.read_text().splitlines() if line in text and "INFO" in text]


def test_no_compiled_program_where_one_must_be(small_bundle: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    command = [
        *(
            sys.executable,
            "-m",
            "shardline.predictors.shard",
            "--model_name=stage",
            f"--model_dir={small_bundle}/stages/0",
        ),
        *("--program=compiled", f"--http_port={free_port()}"),
    ]
    with running(command, log) as process:
        wait_until(lambda: process.poll() is not None, "the end of the process")

    assert process.returncode == 1
    assert "stage 0 has no compiled package for this machine: the bundle has none for cpu" in log.read_text()


def test_bfloat16_goes_from_process_to_process(rounded_bundle: Path, tmp_path: Path) -> None:
    """To the bit what the chain gives in this process."""
    bundle = open_bundle(rounded_bundle)
    expected = LocalChain(rounded_bundle).run_stages(pixels(1))
    body = encode(Frame(tensors={"pixels": pixels(1)}, bundle=bundle.digest, stage=0))
    ports = [free_port() for _ in bundle.stages]

    with ExitStack() as stack:
        for index, port in enumerate(ports):
            name, log = f"rounded-{index}", tmp_path / f"{index}.log"
            arguments = (f"--model_dir={rounded_bundle}/stages/{index}", f"--bundle_digest={bundle.digest}")
            stack.enter_context(server("shardline.predictors.shard", *arguments, log=log, name=name, port=port))
        for index, port in enumerate(ports):
            reply = ask(port, f"rounded-{index}", body)
            if index < len(ports) - 1:
                body = reply.content
                tensors = decode(body).tensors
                assert all(tensors[name].tobytes() == value.tobytes() for name, value in expected[index].items())

    assert reply.json()["predictions"] == task_reply(bundle.task.name)(
        Request(outputs=expected[-1], labels=bundle.task.labels)
    )
