"""TorchServe's archives: self-contained, and answering what the whole model answers."""

import base64
import dataclasses
import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from services.handed_over import whole_reply
from services.processes import ROOT

from shardline.formats.torchserve_export import CONFIG_FILE, ServeOptions, config, export_torchserve, requirements
from shardline.partition.build import BuildOptions, build
from shardline.partition.inputs import with_inputs
from shardline.partition.models import load_model
from shardline.storage.bundle import (
    BUNDLE_FILE,
    GOLDEN_PICTURE_FILE,
    GOLDEN_REPLY_FILE,
    GOLDEN_REQUEST_FILE,
    STAGE_FILE,
)
from shardline.storage.bundle_folder import open_bundle, writing_bundle
from shardline.storage.inputs import parse_inputs
from shardline.training.samples import calibration_pixels, golden_picture, sample_pictures
from shardline.wire.errors import FormatError
from shardline.wire.frame import decode

WORKER = ROOT / "tests" / "services" / "torchserve_worker.py"


@pytest.fixture(scope="module")
def exported(small_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("mar") / "out"
    assert export_torchserve(small_bundle, out, ServeOptions()) == ["small-0", "small-1", "small-2", "small"]
    return out


@pytest.fixture(scope="module")
def masked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One stage that takes a mask beside the picture, and its archive in `out`."""
    folder = tmp_path_factory.mktemp("mar") / "masked"
    model = load_model("services.many_inputs:masked", size=32)
    model = with_inputs(model, parse_inputs(["mask=float32[1,32,32]"]))
    pixels = calibration_pixels(sample_pictures()[:1], model.picture)
    golden = golden_picture(pixels[0], model.picture, model.inputs)
    build(model, "masked", pixels, BuildOptions(stages=1), folder, golden=golden)
    assert export_torchserve(folder, folder.parent / "out", ServeOptions()) == ["masked"]
    return folder


def test_a_mask_is_taken_by_name_and_a_picture_alone_refused(masked: Path, tmp_path: Path) -> None:
    bodies = [(masked / name).read_bytes() for name in (GOLDEN_REQUEST_FILE, GOLDEN_PICTURE_FILE)]

    answer, alone = ask(masked.parent / "out", "masked", tmp_path, *bodies)

    assert answer["body"] == json.loads((masked / GOLDEN_REPLY_FILE).read_text())
    assert (alone["status"], "the model also takes mask" in alone["body"]["error"]) == (400, True)
    assert "The model takes `mask=float32[1,32,32]` as well" in (masked.parent / "out" / "README.md").read_text()


def ask(exported: Path, name: str, tmp_path: Path, *bodies: bytes) -> list[dict[str, Any]]:
    """One batch of requests, answered in a process of its own."""
    files = [tmp_path / f"body-{index}" for index in range(len(bodies))]
    for file, body in zip(files, bodies, strict=True):
        file.write_bytes(body)
    command = [sys.executable, "-W", "ignore", str(WORKER), str(exported / "model-store" / f"{name}.mar")]
    done = subprocess.run(
        [*command, *map(str, files)], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["foreign"] == [], "the archive is not self-contained"
    answers: list[dict[str, Any]] = result["answers"]
    return answers


def test_the_whole_answers_as_the_bundle_does(
    exported: Path, small_bundle: Path, photographs: list[bytes], tmp_path: Path
) -> None:
    picture = photographs[0]
    v1 = json.dumps({"instances": [{"b64": base64.b64encode(picture).decode()}], "parameters": {"top": 2}}).encode()
    [raw] = ask(exported, "small", tmp_path, picture)  # by itself: run together, last digits may move
    [as_json] = ask(exported, "small", tmp_path, v1)
    expected = whole_reply(small_bundle, [picture])

    assert raw["body"] == expected
    assert as_json["body"]["predictions"][0]["top"] == expected["predictions"][0]["top"][:2]
    assert raw["type"] == "application/json"


def test_the_shards_in_turn_answer_as_the_bundle_does(
    exported: Path, small_bundle: Path, photographs: list[bytes], tmp_path: Path
) -> None:
    """What goes from one to the next is a frame of Shardline's own."""
    body = photographs[0]
    for stage in (0, 1):
        [answer] = ask(exported, f"small-{stage}", tmp_path, body)
        body = base64.b64decode(answer["body"])
        frame = decode(body)

        assert (frame.bundle, frame.stage) == (open_bundle(small_bundle).digest, stage + 1)
        assert answer["type"] == "application/octet-stream"
    [answer] = ask(exported, "small-2", tmp_path, body)

    assert answer["body"] == whole_reply(small_bundle, photographs[:1])


def test_one_bad_request_does_not_spoil_its_neighbours(
    exported: Path, small_bundle: Path, photographs: list[bytes], tmp_path: Path
) -> None:
    first, bad, second = ask(exported, "small", tmp_path, photographs[0], b"no picture", photographs[1])

    assert (bad["status"], bad["phrase"]) == (400, "RequestError")
    assert "neither JSON" in bad["body"]["error"]
    for answer, picture in ((first, photographs[0]), (second, photographs[1])):
        expected = whole_reply(small_bundle, [picture])["predictions"][0]
        [found] = answer["body"]["predictions"]
        assert "status" not in answer
        assert found["index"] == expected["index"]
        assert found["score"] == pytest.approx(expected["score"], rel=1e-5)  # run together, last digits may move


def test_a_picture_for_a_later_shard_and_a_frame_for_another_are_refused(
    exported: Path, photographs: list[bytes], tmp_path: Path
) -> None:
    [frame] = ask(exported, "small-0", tmp_path, photographs[0])
    picture, foreign = ask(exported, "small-2", tmp_path, photographs[0], base64.b64decode(frame["body"]))

    assert (picture["status"], foreign["status"]) == (400, 409)
    assert "stage 2 takes frames" in picture["body"]["error"]
    assert "the frame is for stage 1" in foreign["body"]["error"]


def test_config_names_every_archive(exported: Path) -> None:
    lines = dict(line.split("=", 1) for line in (exported / CONFIG_FILE).read_text().splitlines())
    models = json.loads(lines["models"])

    assert sorted(models) == sorted(path.stem for path in (exported / "model-store").iterdir())
    assert lines["load_models"] == "small-0.mar,small-1.mar,small-2.mar,small.mar"
    assert lines["inference_address"] == "http://127.0.0.1:8080"


def test_options_reach_config() -> None:
    text = config(["net"], ServeOptions(workers=2, batch=4, delay_ms=7, timeout_s=9, port=9000), 100)
    lines = dict(line.split("=", 1) for line in text.splitlines())
    settings = json.loads(lines["models"])["net"]["1.0"]

    assert (settings["minWorkers"], settings["maxWorkers"], settings["batchSize"]) == (2, 2, 4)
    assert (settings["maxBatchDelay"], settings["responseTimeout"]) == (7, 9)
    assert (lines["management_address"], lines["max_request_size"]) == ("http://127.0.0.1:9001", "100")


def test_the_archive_says_what_else_it_needs(exported: Path) -> None:
    with zipfile.ZipFile(exported / "model-store" / "small.mar") as archive:
        assert archive.read("requirements.txt").decode().split() == requirements()
    assert {line.split("<")[0].split(">")[0] for line in requirements()} == {
        "ml-dtypes", "numpy", "pillow", "safetensors",
    }  # fmt: skip


def test_a_task_with_an_index_is_refused(small_bundle: Path, tmp_path: Path) -> None:
    bundle = open_bundle(small_bundle)
    with writing_bundle(tmp_path / "other") as (draft, seal):
        ignored = shutil.ignore_patterns(BUNDLE_FILE, STAGE_FILE)
        shutil.copytree(small_bundle, draft, dirs_exist_ok=True, ignore=ignored)
        seal(dataclasses.replace(bundle, task=dataclasses.replace(bundle.task, name="retrieve"), files={}))

    with pytest.raises(FormatError, match="the bundle's task is retrieve"):
        export_torchserve(tmp_path / "other", tmp_path / "out", ServeOptions())
