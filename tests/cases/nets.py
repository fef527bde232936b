"""Tiny models that builds stumbled over, each named `cases.nets:NAME`."""

import sys

import torch
from torch import Tensor, nn


class Base(nn.Module):
    """Two convolutions, the mean over the picture, and a linear layer."""

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 16, 3, 2, 1), nn.ReLU())
        self.fc = nn.Linear(16, classes)

    def features(self, x: Tensor) -> Tensor:
        means: Tensor = self.body(x).mean((2, 3))
        return means

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.fc(self.features(x))
        return scores


class Squeeze(Base):
    """squeeze() without a dimension, which removes a batch of 1."""

    def features(self, x: Tensor) -> Tensor:
        return nn.functional.adaptive_avg_pool2d(self.body(x), 1).squeeze()


class Lstm(Base):
    """An LSTM, whose traced form ends its process at another batch."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.LSTM(16 * 8, 16, 2, batch_first=True, bidirectional=True)
        self.fc = nn.Linear(32, 10)

    def features(self, x: Tensor) -> Tensor:
        last: Tensor = self.rnn(self.body(x).permute(0, 3, 1, 2).flatten(2))[0][:, -1]
        return last


class Names(Base):
    """A ModuleDict whose key is no Python name."""

    def __init__(self, name: str = "k=3") -> None:
        super().__init__()
        self.branches = nn.ModuleDict({name: nn.Conv2d(16, 16, 1)})
        self.name = name

    def features(self, x: Tensor) -> Tensor:
        means: Tensor = self.branches[self.name](self.body(x)).mean((2, 3))
        return means


class Confident(Base):
    """Drops the rows of dark pictures."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x)[x.mean((1, 2, 3)) > 0.0]


class Twice(Base):
    """Gives two rows for each picture."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).repeat(2, 1)


class Anchors(Base):
    """Gives a table without a batch before its scores."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        return torch.ones(5, 4) * self.fc.bias.mean(), super().forward(x)


class Bf16Out(Base):
    """Gives bfloat16."""

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return super().forward(x)


class InfMask(Base):
    """Masks attention by -inf, as it is usual."""

    def forward(self, x: Tensor) -> Tensor:
        f = self.body(x).flatten(2)
        masked = (f.transpose(1, 2) @ f).masked_fill(torch.ones(64, 64).tril() == 0, float("-inf"))
        scores: Tensor = self.fc((f @ masked.softmax(-1)).mean(2))
        return scores


class Prints(Base):
    """Prints in its forward."""

    def forward(self, x: Tensor) -> Tensor:
        print("noise")
        return super().forward(x)


class Exits(Base):
    """Ends the process in its forward."""

    def forward(self, x: Tensor) -> Tensor:
        sys.exit(x.dim() - 1)


class Fails(Base):
    """Fails in its forward."""

    def forward(self, x: Tensor) -> Tensor:
        raise IndexError(f"no such layer of {x.dim()}")


def nan() -> nn.Module:
    """A weight that is NaN."""
    module = Base()
    module.fc.bias.data[3] = float("nan")
    return module
