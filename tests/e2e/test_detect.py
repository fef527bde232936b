"""Detection from a picture to boxes in its own pixels: fitted in every way, cut, served, and evaluated."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from e2e.conftest import up
from services.cli import run_command
from services.colour_detector import (
    LABELS,
    Box,
    ColourDetector,
    ColourYolo,
    drawn,
)
from torch.utils._pytree import tree_leaves

import shardline
from shardline.partition.verify import LocalChain
from shardline.predictors.picture import fit_picture
from shardline.storage.bundle import PictureSpec
from shardline.tasks.detect import reply
from shardline.tasks.request import Request
from shardline.training.samples import sample_pictures
from shardline.wire.limits import Limits

RED, BLUE = (60, 80, 120, 200), (150, 90, 180, 150)
BOXES = [("red", RED), ("blue", BLUE)]


@pytest.mark.parametrize("detector", [ColourDetector, ColourYolo])
@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize(
    ("fit", "size"),
    [("letterbox", (240, 320)), ("letterbox", (400, 210)), ("stretch", (400, 210)), ("crop", (240, 280))],
)
def test_boxes_are_in_pixels_of_the_sent_picture(
    detector: type[ColourDetector], orientation: int, fit: str, size: tuple[int, int]
) -> None:
    """Turned, letterboxed, stretched, cropped and made smaller: within a pixel of the network's input."""
    spec = PictureSpec(height=96, width=128, fit=fit, resize=128 if fit == "crop" else None)
    fitted = fit_picture(drawn(size, BOXES, orientation), spec, Limits())
    with torch.inference_mode():
        values = detector()(torch.from_numpy(fitted.pixels[None]).float() / 255)
    outputs = {str(number): value.numpy() for number, value in enumerate(tree_leaves(values))}
    options = {"layout": "yolov8", "scores": "sigmoid"} if detector is ColourYolo else {}

    [prediction] = reply(Request(outputs=outputs, labels=LABELS, options=options, views=(fitted.view,)))

    found: dict[Any, Any] = {entry["label"]: entry["box"] for entry in prediction["boxes"]}
    assert (fitted.view.width, fitted.view.height) == size
    assert found.keys() == {"red", "blue"}
    pixel = 1.01 * max(fitted.view.across, fitted.view.down)
    for label, box in BOXES:
        np.testing.assert_allclose(found[label], seen(box, fitted.view.to_picture([(0, 0), (128, 96)])), atol=pixel)


def seen(box: Box, corners: np.ndarray) -> np.ndarray:
    """The part of a box that a crop leaves."""
    (left, top), (right, bottom) = corners
    return np.clip(box, (left, top, left, top), (right, bottom, right, bottom))


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four pictures of several sizes, two of them turned, with YOLO's labels."""
    folder = tmp_path_factory.mktemp("drawn")
    (folder / "classes.txt").write_text("\n".join(LABELS))
    for number, size in enumerate([(240, 320), (400, 210), (200, 240), (300, 260)]):
        (folder / f"{number}.png").write_bytes(drawn(size, BOXES, orientation=6 if number % 2 else 1))
        lines = [yolo_line(LABELS.index(label), box, size) for label, box in BOXES]
        (folder / f"{number}.txt").write_text("\n".join(lines))
    return folder


def yolo_line(label: int, box: Box, size: tuple[int, int]) -> str:
    left, top, right, bottom = (side / whole for side, whole in zip(box, (*size, *size), strict=True))
    return f"{label} {(left + right) / 2} {(top + bottom) / 2} {right - left} {bottom - top}"


def evaluate(*arguments: str) -> dict[str, Any]:
    report: dict[str, Any] = json.loads(run_command("evaluate", "detector", *arguments, "--json").stdout)
    return report


@pytest.mark.slow
def test_a_served_chain_finds_what_the_one_in_process_finds(pictures: Path, tmp_path: Path) -> None:
    """Built, served and evaluated: every box is found, by the chain, its whole and the served chain, all the same."""
    captured = shardline.capture(
        ColourDetector(),
        size=(96, 128),
        task="detect",
        labels=LABELS,
        pictures=pictures,
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
    )
    bundle = tmp_path / "colours"
    shardline.build(captured, bundle, plan=shardline.plan(captured, cuts=["same"]))
    with up(bundle, tmp_path) as chain:
        served = evaluate("--url", chain.url, "--data", str(pictures), "--against", str(bundle))
    here = evaluate(str(bundle), "--data", str(pictures), "--out", str(tmp_path / "report"))

    assert [side["map50"] for side in (*here["sides"], *served["sides"])] == pytest.approx([1.0] * 4)
    assert [side["classes"] for side in (*here["sides"], *served["sides"])] == [here["sides"][0]["classes"]] * 4
    assert [(found["equal"], found["same_objects"]) for found in here["differences"]] == [(4, 4)]
    assert [found["same_objects"] for found in served["differences"]] == [4]
    assert {path.name for path in (tmp_path / "report").iterdir()} == {
        "report.html",
        "report.json",
        "precision_recall.png",
    }


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photographs")
    for number, picture in enumerate(sample_pictures()[:3]):
        (folder / f"{number}.png").write_bytes(picture)
    return folder


@pytest.fixture(scope="module")
def ssdlite(photographs: Path) -> "shardline.CapturedModel":
    return shardline.capture(
        "torchvision:ssdlite320_mobilenet_v3_large?num_classes=7", weights="random:0", pictures=photographs
    )


@pytest.mark.heavy
@pytest.mark.parametrize("stages", [2, 3, 5])
def test_ssdlite_is_cut_to_the_bit(ssdlite: "shardline.CapturedModel", stages: int, tmp_path: Path) -> None:
    shardline.build(ssdlite, tmp_path / "ssd", plan=shardline.plan(ssdlite, stages=stages))

    report = shardline.verify(tmp_path / "ssd", random=1)

    assert report.all_equal
    assert report.stages == stages
    assert report.top1_classes is not None
    assert report.top1_classes > 1


_SMALL = "num_classes=7&min_size=64&max_size=64"


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("reference", "size"),
    [
        ("ssdlite320_mobilenet_v3_large?num_classes=7", None),
        (f"retinanet_resnet50_fpn?{_SMALL}", 64),
        (f"fcos_resnet50_fpn?{_SMALL}", 64),
        ("ssd300_vgg16?num_classes=7", None),
    ],
    ids=lambda value: str(value).partition("_")[0],
)
def test_a_served_detector_answers_as_its_whole(
    reference: str, size: int | None, photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    captured = shardline.capture(f"torchvision:{reference}", weights="random:0", size=size, pictures=photographs)
    shardline.build(captured, tmp_path / "bundle", plan=shardline.plan(captured, stages=3))
    del captured
    whole = LocalChain(tmp_path / "bundle")
    pictures = sample_pictures()[:4]
    with up(tmp_path / "bundle", tmp_path) as chain:
        replies = [chain.post(picture).json() for picture in pictures]

    expected = [whole_reply(whole, picture) for picture in pictures]

    assert replies == expected
    objects = [len(found["predictions"][0]["boxes"]) for found in replies]
    assert max(objects) > 1
    with capsys.disabled():
        print(f"\n{reference}: {len(replies)} served replies equal to the whole's, with {objects} objects")


def whole_reply(whole: LocalChain, picture: bytes) -> Any:
    """The v1 reply of the whole model in this process, with as many threads as a stage has."""
    before = torch.get_num_threads()
    torch.set_num_threads(whole.bundle.threads)
    try:
        fitted = fit_picture(picture, whole.bundle.picture, whole.bundle.limits)
        outputs = whole.run_reference(fitted.pixels[None])[-1]
    finally:
        torch.set_num_threads(before)
    request = Request(
        outputs=outputs, options=whole.bundle.task.options, labels=whole.bundle.task.labels, views=(fitted.view,)
    )
    return json.loads(json.dumps(whole.bundle.reply(reply(request))))
