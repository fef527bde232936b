"""A bundle whose middle stages pass on what they get: what a stage costs beside its model can be measured with it."""

from pathlib import Path

import numpy as np
import torch

from shardline.partition.build import BuildOptions, build
from shardline.partition.golden import Golden
from shardline.partition.models import IMAGENET_MEAN, IMAGENET_STD, Model
from shardline.storage.bundle import PictureSpec, stage_folder
from shardline.wire.frame import Frame, encode

ECHOES = (1, 2)  # the stages that do nothing
_PIXELS = 64  # height and width: one picture is 48 KiB as float32
MAX_INSTANCES = 64  # 3 MiB


class _Pass(torch.nn.Module):
    """Nearly nothing, but an operation: a stage has to have one."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + 0.0


class _Mean(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean((2, 3))


class _Echo(torch.nn.Module):
    """The picture is needed at the end again, so that it crosses every cut."""

    def __init__(self) -> None:
        super().__init__()
        self.start, self.one, self.two = _Mean(), _Pass(), _Pass()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        passed: torch.Tensor = self.two(self.one(self.start(x)))
        return passed + x.mean((2, 3))  # in this order: before, x is not done with


def build_echo(folder: Path) -> None:
    """Build the bundle at `folder`: four stages, of which ECHOES only pass their tensors on."""
    model = Model(
        reference="echo",
        weights="none",
        module=_Echo(),
        picture=PictureSpec(height=_PIXELS, width=_PIXELS),
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
    )
    options = BuildOptions(cuts=("start", "one", "two"), batch=MAX_INSTANCES)
    pictures = np.random.default_rng(0).integers(0, 256, (2, 3, _PIXELS, _PIXELS), dtype=np.uint8)
    build(model, "echo", pictures, options, folder)


def echo_frame(folder: Path, digest: str, instances: int) -> bytes:
    """A frame for the first echo, with so many pictures."""
    inputs = Golden.load(folder / stage_folder(ECHOES[0])).inputs
    tensors = {name: np.repeat(value, instances, axis=0) for name, value in inputs.items()}
    return encode(Frame(tensors=tensors, bundle=digest, stage=ECHOES[0]))
