"""A bundle of three stages of which the middle one passes 3.2 MB on and computes next to nothing.

What crosses has the size that ResNet-50 has after its first layer: float32 [1, 256, 56, 56].
"""

from collections import OrderedDict
from pathlib import Path

import numpy as np
import torch

from shardline.partition.build import BuildOptions, build
from shardline.partition.models import IMAGENET_MEAN, IMAGENET_STD, Model
from shardline.storage.bundle import PictureSpec
from shardline.wire.limits import Limits

CHANNELS, SIDE = 256, 56
MIDDLE = 1  # the stage that both takes and gives the wide tensor


class _Widen(torch.nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self._channels = channels

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # [n, 3, 56, 56] -> [n, channels, 56, 56]
        return x.mean(1, keepdim=True).repeat(1, self._channels, 1, 1)


class _Pass(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + 0.0


class _Mean(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:  # -> [n, channels]
        return x.mean((2, 3)) * torch.arange(1.0, x.shape[1] + 1)


def build_wide(folder: Path, channels: int = CHANNELS) -> Path:
    """Each channel that crosses is 12.5 KB."""
    model = Model(
        reference="wide",
        weights="none",
        module=torch.nn.Sequential(OrderedDict(widen=_Widen(channels), middle=_Pass(), end=_Mean())),
        picture=PictureSpec(height=SIDE, width=SIDE, resize=SIDE),
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
    )
    pixels = np.random.default_rng(0).integers(0, 256, (2, 3, SIDE, SIDE), dtype=np.uint8)
    build(model, "wide", pixels, BuildOptions(cuts=("widen", "middle"), limits=Limits()), folder)
    return folder
