"""Segmentation end to end: cut networks are equal to whole ones, and a served chain replies with the whole's masks."""

import base64
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from e2e.conftest import Up, up
from PIL import Image
from services.cli import run_command
from services.colour_segmenter import CLASSES, MEAN, STD, draw, encoded

import shardline
from shardline.client.masks import read_segmentation
from shardline.partition.verify import LocalChain
from shardline.predictors.picture import fit_picture
from shardline.tasks.request import Request
from shardline.tasks.segment import reply
from shardline.training.samples import sample_pictures

OWN = "services.colour_segmenter:by_colour"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def captured() -> shardline.CapturedModel:
    return shardline.capture(OWN, size=(48, 64), mean=MEAN, std=STD, labels=CLASSES, task="segment")


@pytest.mark.parametrize("stages", [3, 5])
def test_an_own_network_is_cut(stages: int, captured: shardline.CapturedModel, tmp_path: Path) -> None:
    built = shardline.build(captured, tmp_path / "it", plan=shardline.plan(captured, stages=stages))
    report = shardline.verify(tmp_path / "it", random=1, threads=1)

    assert len(built.stages) == stages
    assert report.passed
    assert report.top1_agreement == 1


@pytest.fixture(scope="module")
def bundle(captured: shardline.CapturedModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two stages that know four colours."""
    folder = tmp_path_factory.mktemp("bundles") / "colours"
    shardline.build(captured, folder, plan=shardline.plan(captured, stages=2))
    assert shardline.verify(folder, random=1, threads=1).passed
    return folder


@pytest.fixture(scope="module")
def chain(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with up(bundle, tmp_path_factory.mktemp("up")) as started:
        yield started


def test_the_golden_picture_gets_the_golden_reply(chain: Up, bundle: Path) -> None:
    reply = chain.post((bundle / "golden.png").read_bytes()).json()

    assert reply == json.loads((bundle / "golden.json").read_text())


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_turned_picture_has_its_mask(chain: Up, orientation: int) -> None:
    image, classes = draw(150, 90)
    [prediction] = chain.post(encoded(image, orientation)).json()["predictions"]
    found = read_segmentation(prediction)

    assert found is not None
    assert found.size == (90, 150)
    assert float(np.mean(found.decode() == classes)) > 0.96


def test_parameters_and_their_errors(chain: Up) -> None:
    instance = {"data": base64.b64encode(encoded(draw(64, 48)[0])).decode()}
    for parameters, status in (({"format": "rle", "classes": ["red"]}, 200), ({"format": "gif"}, 400)):
        reply = chain.post(json.dumps({"instances": [instance], "parameters": parameters}).encode())
        assert reply.status_code == status
        assert ("counts" if status == 200 else "allowed: png or rle") in reply.text


def test_the_evaluation_of_a_served_chain_is_that_of_the_one_in_process(
    chain: Up, bundle: Path, tmp_path: Path
) -> None:
    for number, size in enumerate(((64, 48), (100, 60), (40, 90))):
        image, classes = draw(*size)
        for kind, file in (("data", encoded(image)), ("masks", png(classes))):
            (tmp_path / kind).mkdir(exist_ok=True)
            (tmp_path / kind / f"{number}.png").write_bytes(file)
    folders = ("--data", str(tmp_path / "data"), "--masks", str(tmp_path / "masks"), "--threads", "1", "--json")
    local = json.loads(run_command("evaluate", "segmenter", str(bundle), *folders).stdout)
    url = chain.url.partition("/v1/")[0]
    served = json.loads(run_command("evaluate", "segmenter", "--url", url, "--against", str(bundle), *folders).stdout)
    in_process, whole = local["sides"]

    assert in_process["mean_iou"]["value"] > 0.9
    assert in_process | {"name": ""} == whole | {"name": ""} == served["sides"][0] | {"name": ""}
    assert local["differences"][0]["equal"] == 3
    assert served["differences"][0]["same_mask"] == 3


def png(classes: np.ndarray) -> bytes:
    """uint8 [height, width] as a file."""
    with io.BytesIO() as buffer:
        Image.fromarray(classes).save(buffer, "PNG")
        return buffer.getvalue()


@pytest.mark.heavy
def test_a_served_lraspp_answers_as_its_whole(tmp_path: Path) -> None:
    pictures = sample_pictures()[:4]
    for number, picture in enumerate(pictures):
        (tmp_path / f"{number}.png").write_bytes(picture)
    network = shardline.capture(
        "torchvision:lraspp_mobilenet_v3_large", weights="random:0", size=128, pictures=tmp_path
    )
    shardline.build(network, tmp_path / "bundle", plan=shardline.plan(network, stages=3))
    whole = LocalChain(tmp_path / "bundle")
    with up(tmp_path / "bundle", tmp_path) as chain:
        replies = [chain.post(picture).json() for picture in pictures]

    assert replies == [whole_reply(whole, picture) for picture in pictures]
    assert all(found["predictions"][0]["classes"] for found in replies)


def whole_reply(whole: LocalChain, picture: bytes) -> Any:
    """The v1 reply of the whole model in this process, with as many threads as a stage has."""
    bundle, before = whole.bundle, torch.get_num_threads()
    torch.set_num_threads(bundle.threads)
    try:
        fitted = fit_picture(picture, bundle.picture, bundle.limits)
        outputs = whole.run_reference(fitted.pixels[None])[-1]
    finally:
        torch.set_num_threads(before)
    request = Request(
        outputs=outputs,
        options=bundle.task.options,
        labels=bundle.task.labels,
        views=(fitted.view,),
        input_size=(bundle.picture.height, bundle.picture.width),
    )
    return json.loads(json.dumps(bundle.reply(reply(request))))
