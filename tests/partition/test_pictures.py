"""Preprocessing by options: sizes, fits and modes, the usual values, and refusals in one line."""

from typing import Any

import pytest
from services.many_inputs import Channels
from torch import nn

from shardline.partition.models import Model
from shardline.partition.pictures import mode_of, resized, usual_mean_std, usual_picture
from shardline.partition.prepare import with_picture
from shardline.storage.bundle import IMAGENET_MEAN, IMAGENET_STD, PictureSpec
from shardline.wire.errors import UsageError

CROP = PictureSpec(height=224, width=224, resize=256)


def model(picture: PictureSpec = CROP) -> Model:
    mean, std = usual_mean_std(picture.mode)
    return Model(reference="m", weights="w", module=nn.Identity(), picture=picture, mean=mean, std=std)


def test_a_square_keeps_its_crop_and_another_shape_is_stretched() -> None:
    assert resized(CROP, 112) == PictureSpec(height=112, width=112, resize=128)
    assert resized(CROP, (16, 64)) == PictureSpec(height=16, width=64, fit="stretch")
    assert usual_picture(16, 64, "L") == PictureSpec(height=16, width=64, fit="stretch", mode="L")


@pytest.mark.parametrize("size", [20000, 2049, (1, 2048 * 2048 + 1), (10**8, 10**8)])
def test_an_input_too_large_is_refused(size: int | tuple[int, int]) -> None:
    with pytest.raises(UsageError, match="allowed are 1 to 4194304, such as 2048 x 2048: give a smaller --size"):
        resized(CROP, size)


def test_a_timm_models_bicubic_and_crop_of_nine_tenths() -> None:
    assert with_picture(model(), resize=249, interpolation="bicubic").picture == PictureSpec(
        height=224, width=224, resize=249, interpolation="bicubic"
    )


def test_a_plate_reader_of_16_x_64() -> None:
    changed = with_picture(model(resized(CROP, (16, 64))), fit="letterbox", mode="L")

    assert changed.picture == PictureSpec(height=16, width=64, fit="letterbox", mode="L")
    assert (changed.mean, changed.std) == ((0.449,), (0.226,))


def test_the_usual_values_of_each_mode() -> None:
    assert usual_mean_std("RGB") == (IMAGENET_MEAN, IMAGENET_STD)
    assert usual_mean_std("RGBA") == ((*IMAGENET_MEAN, 0.0), (*IMAGENET_STD, 1.0))


@pytest.mark.parametrize(
    ("picture", "options", "message"),
    [
        (CROP, {"fit": "stretch", "resize": 256}, "--resize 256 goes with --fit crop"),
        (CROP, {"resize": 200}, "--resize 200 is smaller than the crop of 224 x 224"),
    ],
)
def test_options_that_do_not_go_together(picture: PictureSpec, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        with_picture(model(picture), **options)


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB"), (4, "RGBA"), (7, "RGB")])
def test_the_first_convolution_says_the_mode(channels: int, mode: str) -> None:
    assert mode_of(Channels(channels)) == mode


def test_a_module_without_convolutions_takes_rgb() -> None:
    assert mode_of(nn.Linear(3, 4)) == "RGB"
