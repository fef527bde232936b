"""Small models of other pictures than square RGB; each is a factory."""

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
