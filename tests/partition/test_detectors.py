"""torchvision's detectors with outputs of a fixed shape: the same objects as torchvision's own evaluation."""

from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from torch.utils._pytree import tree_leaves

from shardline.partition.capture import run_whole, whole_module
from shardline.partition.models import Model, load_model
from shardline.partition.prepare import prepare
from shardline.predictors.picture import pixel_batch
from shardline.tasks.detect import reply
from shardline.tasks.request import Request
from shardline.training.samples import calibration_pixels, sample_pictures
from shardline.wire.errors import ModelError
from shardline.wire.limits import Limits
from shardline.wire.view import View

SMALL = "?num_classes=7&min_size=64&max_size=64"
DETECTORS = {
    "ssdlite320_mobilenet_v3_large": "?num_classes=7",
    "ssd300_vgg16": "?num_classes=7",
    "retinanet_resnet50_fpn": SMALL,
    "retinanet_resnet50_fpn_v2": SMALL,
    "fcos_resnet50_fpn": SMALL,
}


def detector(name: str) -> Model:
    """A detector with calibrated random weights, for pictures of 64 pixels unless torchvision fixes their size."""
    size = 64 if DETECTORS[name] == SMALL else None
    model = load_model(f"torchvision:{name}{DETECTORS[name]}", "random:0", size)
    return prepare(model, calibration_pixels(sample_pictures()[:4], model.picture))


def torchvision_s(name: str, model: Model) -> Any:
    """torchvision's own detector with the same weights."""
    arguments = dict(text.split("=") for text in DETECTORS[name][1:].split("&"))
    own = torchvision.models.get_model(
        name, weights=None, weights_backbone=None, **{key: int(value) for key, value in arguments.items()}
    )
    own.load_state_dict(model.module.state_dict())
    return own.eval()


def every(predictions: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The objects of all pictures."""
    return [entry for prediction in predictions for entry in prediction["boxes"]]


@pytest.mark.parametrize(
    "name",
    [
        "ssdlite320_mobilenet_v3_large",
        pytest.param("fcos_resnet50_fpn", marks=pytest.mark.slow),
        pytest.param("retinanet_resnet50_fpn", marks=pytest.mark.slow),
        pytest.param("ssd300_vgg16", marks=pytest.mark.heavy),
        pytest.param("retinanet_resnet50_fpn_v2", marks=pytest.mark.heavy),
    ],
)
def test_the_reply_is_torchvision_s_own(name: str) -> None:
    model = detector(name)
    pixels = pixel_batch(sample_pictures()[:2], model.picture, Limits())

    values = run_whole(whole_module(model), torch.from_numpy(pixels))

    with torch.inference_mode():
        expected = torchvision_s(name, model)(list(torch.from_numpy(pixels).float() / 255))
    view = View(width=model.picture.width, height=model.picture.height)
    outputs = {str(number): np.asarray(value) for number, value in enumerate(tree_leaves(values))}
    predictions: list[dict[str, Any]] = reply(Request(outputs=outputs, options=model.task_options, views=(view, view)))
    assert model.task == "detect"
    for prediction, own in zip(predictions, expected, strict=True):
        found: list[dict[str, Any]] = prediction["boxes"]
        inside = (own["boxes"][:, 2:] > own["boxes"][:, :2]).all(1)  # a clipped box may have no area
        assert 0 < len(found) == int(inside.sum())
        assert [entry["index"] for entry in found] == own["labels"][inside].tolist()
        np.testing.assert_allclose([entry["score"] for entry in found], own["scores"][inside], atol=1e-5)
        np.testing.assert_allclose([entry["box"] for entry in found], own["boxes"][inside], atol=6e-3)
    likely = [entry["index"] for entry in every(predictions) if entry["score"] > 0.5]
    assert 0 < len(likely) < 200
    assert len(set(likely)) > 1


def test_labels_and_preprocessing_are_torchvision_s() -> None:
    model = load_model("torchvision:ssdlite320_mobilenet_v3_large", "random:0")

    assert (model.picture.fit, model.picture.height, model.picture.width) == ("stretch", 320, 320)
    assert (model.mean, model.std) == ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    assert (len(model.labels), model.labels[1]) == (91, "person")
    assert model.task_options == {"threshold": 0.001, "iou": 0.55, "top": 300}


@pytest.mark.parametrize("name", ["fasterrcnn_mobilenet_v3_large_320_fpn", "maskrcnn_resnet50_fpn"])
def test_detectors_with_region_proposals_are_refused(name: str) -> None:
    with pytest.raises(ModelError, match=r"number of its boxes depends on the picture.*SSDlite, RetinaNet and FCOS"):
        load_model(f"torchvision:{name}", "random:0")
