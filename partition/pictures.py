"""Preprocessing of a model's pictures where the model does not say its own: size, fit, channels, mean and deviation."""

from dataclasses import replace

import torch

from shardline.storage.bundle import CHANNELS, IMAGENET_MEAN, IMAGENET_STD, PictureSpec
from shardline.wire.errors import UsageError

Size = int | tuple[int, int]
"""Size of a model's pictures in pixels: one number for both sides, or height and width."""

MODES = {channels: mode for mode, channels in CHANNELS.items()}
_INPUT_PIXELS = 2048 * 2048  # of one picture: larger inputs take gigabytes of activations in any network


def resized(picture: PictureSpec, size: Size) -> PictureSpec:
    """Change the preprocessing to pictures of `size`: with the same crop if they are square, else stretched.

    Raises:
        UsageError: more pixels than an input may have.
    """
    height, width = (size, size) if isinstance(size, int) else size
    check_size(height, width)
    if picture.fit == "crop" and height != width:
        return replace(picture, height=height, width=width, fit="stretch", resize=None)
    resize = None if picture.resize is None else round(height * picture.resize / picture.height)
    return replace(picture, height=height, width=width, resize=resize)


def check_size(height: int, width: int) -> None:
    """Check the size of a network's input before anything of that size is made.

    Raises:
        UsageError: more pixels than an input may have, or a side of none.
    """
    if min(height, width) < 1 or height * width > _INPUT_PIXELS:
        raise UsageError(
            f"the input has {height} x {width} pixels; allowed are 1 to {_INPUT_PIXELS}, such as 2048 x 2048: give a "
            "smaller --size"
        )


def usual_picture(height: int, width: int, mode: str = "RGB") -> PictureSpec:
    """Preprocessing where a model does not say its own: ImageNet's crop of a square, else the whole picture stretched.

    Raises:
        UsageError: more pixels than an input may have.
    """
    check_size(height, width)
    if height != width:
        return PictureSpec(height=height, width=width, fit="stretch", mode=mode)
    return PictureSpec(height=height, width=width, fit="crop", resize=round(height * 256 / 224), mode=mode)


def usual_mean_std(mode: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel where a model does not say its own: ImageNet's.

    Grey gets the averages of ImageNet's three; an alpha channel is kept from 0 to 1.
    """
    match CHANNELS[mode]:
        case 1:
            return (round(sum(IMAGENET_MEAN) / 3, 3),), (round(sum(IMAGENET_STD) / 3, 3),)
        case 4:
            return (*IMAGENET_MEAN, 0.0), (*IMAGENET_STD, 1.0)
    return IMAGENET_MEAN, IMAGENET_STD


def mode_of(module: torch.nn.Module) -> str:
    """Mode of the pictures that a module takes: as many channels as its first convolution, RGB where that is none."""
    first = next((layer for layer in module.modules() if isinstance(layer, torch.nn.Conv2d)), None)
    return "RGB" if first is None else MODES.get(first.in_channels, "RGB")
