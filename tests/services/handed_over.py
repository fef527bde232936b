"""Bundles to hand over, and the whole model's own answers."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from shardline.partition.build import BuildOptions, build
from shardline.partition.models import Model
from shardline.partition.verify import LocalChain
from shardline.predictors.picture import fit_pictures
from shardline.storage.bundle import IMAGENET_MEAN, IMAGENET_STD, PictureSpec
from shardline.tasks.registry import task_reply
from shardline.tasks.request import Request
from shardline.training.samples import calibration_pixels, sample_pictures


class Numbered(nn.Module):
    """Adds each picture's number: the tracer takes the batch that it saw for a constant there."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv(x).mean((2, 3))
        return x + torch.arange(x.shape[0]).view(-1, 1)


def bundle_of(folder: Path, module: nn.Module, cuts: tuple[str, ...], **options: Any) -> Path:
    """A bundle of any module, at 32 × 32 pixels."""
    model = Model(
        reference="test",
        weights="as built",
        module=module.eval(),
        picture=PictureSpec(height=32, width=32, resize=36),
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
    )
    pictures = np.ascontiguousarray(calibration_pixels(sample_pictures()[:2], model.picture))
    build(model, "net", pictures, BuildOptions(cuts=cuts, stages=1, **options), folder)
    return folder


def whole_reply(folder: Path, pictures: list[bytes]) -> dict[str, Any]:
    """What the whole model answers to pictures, as v1 JSON has it."""
    chain = LocalChain(folder)
    pixels, views = fit_pictures(pictures, chain.bundle.picture, chain.bundle.limits)
    outputs = chain.run_reference(pixels)[-1]
    request = Request(outputs=outputs, labels=chain.bundle.task.labels, views=views)
    return {"predictions": task_reply(chain.bundle.task.name)(request)}
