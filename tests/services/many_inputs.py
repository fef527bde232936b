"""Small models of other pictures than square RGB, and of more inputs than a picture; each is a factory."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import nn


class Channels(nn.Module):
    """A classifier of pictures with any number of channels, any size, in three blocks."""

    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        self.stem = nn.Conv2d(channels, 8, 3, stride=2, padding=1)
        self.one = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
        self.two = nn.Sequential(nn.Conv2d(8, 8, 3, stride=2, padding=1), nn.ReLU())
        self.head = nn.Linear(8, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = self.head(self.two(self.one(self.stem(x))).mean((2, 3)))
        return output


def grey() -> nn.Module:
    return Channels(1)


def rgba() -> nn.Module:
    return Channels(4)


class Masked(Channels):
    """A mask weighs the last features, so it crosses every cut before them."""

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        features = self.two(self.one(self.stem(x)))
        small = nn.functional.adaptive_avg_pool2d(mask, features.shape[2:])
        output: torch.Tensor = self.head((features * small).mean((2, 3)))
        return output


class Conditioned(Channels):
    """A vector and a whole number shift the features early and scale the outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.shift = nn.Linear(6, 8)
        self.scales = nn.Embedding(2, 5)

    def forward(self, x: torch.Tensor, vector: torch.Tensor, kind: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        features = self.one(self.stem(x)) + self.shift(vector)[:, :, None, None]
        output: torch.Tensor = self.head(self.two(features).mean((2, 3))) * self.scales(kind)
        return output


class Siamese(Channels):
    """Two pictures through the same body: their difference is classified."""

    def forward(self, x: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        ours, theirs = (self.one(self.stem(picture)) for picture in (x, reference))
        output: torch.Tensor = self.head(self.two(ours - theirs).mean((2, 3)))
        return output


def masked() -> nn.Module:
    return Masked()


def conditioned() -> nn.Module:
    return Conditioned()


def siamese() -> nn.Module:
    return Siamese()


class Weighed(Masked):
    """A grey picture, a mask and a number that scales the outputs."""

    def __init__(self) -> None:
        super().__init__(1)

    def forward(self, x: torch.Tensor, mask: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        return super().forward(x, mask) * scale[:, None]


def weighed() -> nn.Module:
    return Weighed()


def reseeded(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Other values of the same dtypes and shapes: the arrays in reverse order."""
    return {name: np.ascontiguousarray(value.reshape(-1)[::-1]).reshape(value.shape) for name, value in inputs.items()}
