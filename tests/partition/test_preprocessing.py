"""Preprocessing that a model states itself, and means for pixels from 0 to 255."""

from typing import Any

import pytest
from torch import nn
from torchvision.models import ResNet18_Weights

from shardline.partition.preprocessing import check_channels, from_timm, own_preprocessing
from shardline.storage.bundle import PictureSpec
from shardline.wire.errors import UsageError

CONFIG: dict[str, Any] = {
    "input_size": (3, 240, 240),
    "interpolation": "bicubic",
    "crop_pct": 0.9,
    "crop_mode": "center",
    "mean": (0.5, 0.5, 0.5),
    "std": (0.25, 0.25, 0.25),
}


def test_timm_s_crop_becomes_the_shorter_side() -> None:
    own = from_timm(CONFIG)

    assert own.picture == PictureSpec(height=240, width=240, fit="crop", resize=266, interpolation="bicubic")
    assert (own.mean, own.std) == ((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
    assert set(own.origins.values()) == {"the model's"}


@pytest.mark.parametrize(
    ("changed", "fit", "origin"),
    [
        ({"crop_mode": "squash", "crop_pct": 1.0}, "stretch", "the model's"),
        ({"crop_mode": "squash"}, "stretch", "the model's, without its crop of 0.9"),
        ({"crop_mode": "border"}, "letterbox", "the model's, padded with grey instead of the mean"),
    ],
)
def test_timm_s_other_crops_are_taken_as_near_as_they_can_be(changed: dict[str, Any], fit: str, origin: str) -> None:
    own = from_timm(CONFIG | changed)

    assert (own.picture.fit, own.picture.resize, own.origins["fit"]) == (fit, None, origin)


def test_a_module_s_own_preprocessing_is_found() -> None:
    configured, preset, plain = nn.Identity(), nn.Identity(), nn.Identity()
    configured.__dict__["default_cfg"] = CONFIG
    preset.transforms = ResNet18_Weights.IMAGENET1K_V1.transforms()

    found = [own_preprocessing(module) for module in (configured, preset)]

    assert [own.picture.height for own in found if own] == [240, 224]
    assert found[1] is not None
    assert found[1].picture.resize == 256
    assert own_preprocessing(plain) is None


@pytest.mark.parametrize(
    ("mean", "std", "message"),
    [
        ((127, 127, 127), None, "--mean 127,127,127: .* for pixels from 0 to 255, write --mean 0.498,0.498,0.498"),
        (None, (58, 57, 57.0), "--std 58,57,57: .* write --std 0.227,0.224,0.224"),
        ((0.5, -3.0, 0.5), None, "--mean 0.5,-3,0.5"),
    ],
)
def test_channels_of_pixels_to_255_are_refused(mean: Any, std: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        check_channels(mean, std)


def test_channels_of_pixels_to_1_are_taken() -> None:
    check_channels((0.0, -1.0, 1.0), (1 / 255, 1.0, 0.5))
    check_channels(None, None)
