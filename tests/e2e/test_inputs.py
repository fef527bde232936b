"""A model that takes a grey picture, a mask and a number, served as a chain and asked as users ask it."""

import base64
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
import requests
import torch
from conftest import made_once
from e2e.conftest import Up, shardline, up
from services.many_inputs import reseeded
from services.processes import ROOT

from shardline.partition.archive import load_program
from shardline.partition.build import BuildOptions, build
from shardline.partition.device import use_threads
from shardline.partition.inputs import with_inputs
from shardline.partition.models import load_model
from shardline.partition.program import runnable
from shardline.partition.runtime import Golden, load_shard
from shardline.partition.verify import random_batches, verify
from shardline.predictors.picture import pixel_batch
from shardline.storage.bundle import GOLDEN_REQUEST_FILE, WHOLE_FILE
from shardline.storage.bundle_folder import open_bundle
from shardline.storage.inputs import parse_inputs
from shardline.tasks.registry import task_reply
from shardline.tasks.request import Request
from shardline.training.evaluation.in_process import read_bundle_for
from shardline.training.samples import calibration_pixels, golden_picture, sample_pictures
from shardline.wire.errors import BundleError

pytestmark = pytest.mark.slow

MASK = np.random.default_rng(5).random((1, 32, 32)).astype(np.float32)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two stages; the mask and the number cross the cut."""

    def make(folder: Path) -> None:
        model = load_model("services.many_inputs:weighed", size=32)
        model = with_inputs(model, parse_inputs(["mask=float32[1,32,32]", "scale=float32"]))
        pixels = calibration_pixels(sample_pictures()[:2], model.picture)
        golden = golden_picture(pixels[0], model.picture, model.inputs)
        build(model, "weighed", pixels, BuildOptions(cuts=("one",)), folder, golden=golden)

    return made_once(tmp_path_factory, "weighed", make)


@pytest.fixture(scope="module")
def chain(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with up(bundle, tmp_path_factory.mktemp("up")) as started:
        yield started


def instance(picture: bytes, **values: object) -> dict[str, object]:
    return {"image_bytes": {"b64": base64.b64encode(picture).decode()}, **values}


def expected(bundle: Path, picture: bytes, mask: np.ndarray, scale: float) -> Mapping[str, object]:
    """Reply of the whole model, uncut, with as many threads as a stage has."""
    before = torch.get_num_threads()
    use_threads()
    described = open_bundle(bundle)
    pixels = pixel_batch([picture], described.picture, described.limits)
    inputs = (torch.from_numpy(pixels), torch.from_numpy(mask[None]), torch.tensor([scale]))
    try:
        with torch.inference_mode():
            [output] = runnable(load_program(bundle / WHOLE_FILE))(*inputs)
    finally:
        torch.set_num_threads(before)
    [reply] = task_reply("classify")(Request(outputs={"output": output.numpy()}))
    found: Mapping[str, object] = json.loads(json.dumps(reply))
    return found


def test_each_instance_is_answered_with_its_own_inputs(chain: Up, bundle: Path, photographs: list[bytes]) -> None:
    ones = np.ones_like(MASK)
    packed = {"b64": base64.b64encode(MASK.tobytes()).decode()}
    body = {
        "instances": [
            instance(photographs[0], mask=MASK.tolist(), scale=1.5),
            instance(photographs[1], mask=ones.tolist(), scale=-2),
            instance(photographs[0], mask=packed, scale=0.25),
        ]
    }

    reply = requests.post(chain.url, json=body, timeout=60)

    assert reply.status_code == 200, reply.text
    assert reply.json()["predictions"] == [
        expected(bundle, photographs[0], MASK, 1.5),
        expected(bundle, photographs[1], ones, -2.0),
        expected(bundle, photographs[0], MASK, 0.25),
    ]


def test_wrong_inputs_are_one_line_through_the_graph(chain: Up, photographs: list[bytes]) -> None:
    good = instance(photographs[0], mask=MASK.tolist(), scale=1)
    bodies = {
        "instance 1: mask is numbers of the shape [2]; allowed is float32[1,32,32]": [good, {**good, "mask": [1, 2]}],
        "instance 0: scale is missing": [instance(photographs[0], mask=MASK.tolist())],
        "instance 0: scale is null": [{**good, "scale": None}],
    }
    for text, instances in bodies.items():
        reply = requests.post(chain.url, json={"instances": instances}, timeout=60)

        assert (reply.status_code, text in reply.json()["error"]) == (400, True), reply.text
    alone = chain.post(photographs[0])
    assert (alone.status_code, "the model also takes mask and scale" in alone.json()["error"]) == (400, True)


def test_the_golden_request_is_answered_as_the_bundle_says(chain: Up, bundle: Path) -> None:
    reply = chain.post((bundle / GOLDEN_REQUEST_FILE).read_bytes())

    assert reply.json() == json.loads((bundle / "golden.json").read_text())


def test_the_client_sends_inputs_with_every_picture(
    chain: Up, bundle: Path, photographs: list[bytes], tmp_path: Path
) -> None:
    (tmp_path / "photo.jpg").write_bytes(photographs[0])
    np.save(tmp_path / "mask.npy", MASK)
    inputs = ("--input", f"mask=@{tmp_path}/mask.npy", "--input", "scale=1.5")

    result = shardline("request", "--url", chain.url, "--json", *inputs, str(tmp_path / "photo.jpg"), folder=ROOT)

    assert json.loads(result.stdout)["predictions"] == [expected(bundle, photographs[0], MASK, 1.5)]


def test_frames_with_further_inputs_join_into_one_batch_and_split_again(bundle: Path) -> None:
    folder = bundle / "stages" / "0"
    shard, golden = load_shard(folder), Golden.load(folder)
    other = reseeded(golden.inputs)

    assert shard.can_join(golden)
    assert shard.can_split
    joined = shard.run_joined([golden.inputs, other])
    for found, frame in zip(joined, (golden.inputs, other), strict=True):
        for name, value in shard.run(frame).items():
            np.testing.assert_allclose(found[name], value, atol=1e-5)


def test_the_bundle_states_its_inputs_and_verifies(bundle: Path) -> None:
    described = open_bundle(bundle)
    noise = random_batches(described.stages[0].inputs[0], 2)

    assert [str(spec) for spec in described.inputs] == ["mask=float32[1,32,32]", "scale=float32"]
    assert [spec.name for spec in described.stages[1].inputs][:2] == ["mask", "scale"]
    report = verify(bundle, noise[:1], noise[1:])
    assert report.passed
    assert (report.equal, report.random_equal) == (1, 1)


def test_an_evaluation_of_pictures_alone_is_refused(bundle: Path) -> None:
    with pytest.raises(BundleError, match="takes mask, scale beside the picture, which a folder of pictures does not"):
        read_bundle_for(bundle, "classify")
