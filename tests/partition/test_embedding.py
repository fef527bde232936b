"""A model without its head, of every kind that torchvision has."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from shardline.partition.models import load_model
from shardline.partition.prepare import without_head
from shardline.wire.errors import ModelError

WIDTHS = {
    "alexnet": 4096,
    "convnext_tiny": 768,
    "densenet121": 1024,
    "efficientnet_b0": 1280,
    "googlenet": 1024,
    "inception_v3": 2048,
    "maxvit_t": 512,
    "mnasnet0_5": 1280,
    "mobilenet_v3_small": 1024,
    "regnet_y_400mf": 440,
    "resnet18": 512,
    "shufflenet_v2_x0_5": 1024,
    "squeezenet1_1": 512,
    "swin_t": 768,
}


@pytest.mark.slow
@pytest.mark.parametrize("name", WIDTHS)
def test_torchvision_s_families(name: str) -> None:
    model = without_head(load_model(f"torchvision:{name}", "random:0"))

    with torch.inference_mode():
        found = model.module(torch.zeros(1, 3, model.picture.height, model.picture.width))

    assert found.shape == (1, WIDTHS[name])
    assert model.labels == ()


def test_small_ones() -> None:
    residual = without_head(load_model("services.small_models:residual", size=32))
    transformer = without_head(load_model("services.small_models:vision_transformer", size=32))

    assert residual.module(torch.zeros(2, 3, 32, 32)).shape == (2, 8)
    assert transformer.module(torch.zeros(2, 3, 32, 32)).shape == (2, 32)


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (nn.Sequential(nn.ReLU()), "has no head to remove"),
        (nn.Linear(3, 3), "has no head to remove"),
        (
            nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1)),
            r"without 1 must return one .*; it returns \[2, 4, 8, 8\]",
        ),
        (nn.Sequential(nn.Linear(8, 8), nn.Conv2d(5, 4, 1)), r"without 0 must return one .*; it fails: "),
    ],
)
def test_what_has_none(module: nn.Module, message: str) -> None:
    model = replace(load_model("services.small_models:residual", size=8), module=module)

    with pytest.raises(ModelError, match=message):
        without_head(model)
