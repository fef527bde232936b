"""Small models whose outputs are not plain logits, for tests: each is a factory without arguments."""

from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional

Head = Callable[[torch.Tensor], object]


class Outputs(nn.Module):
    """Ten class scores that differ from picture to picture, changed by `head`."""

    def __init__(self, head: Head, classes: int = 10) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 16, 5, stride=4)
        self.fc = nn.Linear(16, classes)
        nn.init.normal_(self.fc.weight, std=3.0)
        self._head = head

    def forward(self, x: torch.Tensor) -> object:
        return self._head(self.fc(self.conv(x).relu().mean((2, 3))))


def _model(head: Head, classes: int = 10) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(4)
        return Outputs(head, classes).eval()


def logits() -> nn.Module:
    return _model(lambda values: values)


def probabilities() -> nn.Module:
    return _model(lambda values: values.softmax(1))


def sigmoids() -> nn.Module:
    return _model(torch.sigmoid)


def top_three() -> nn.Module:
    return _model(lambda values: values.topk(3))


def sorted_values() -> nn.Module:
    return _model(lambda values: values.sort(descending=True).values)


def constant() -> nn.Module:
    return _model(lambda values: values * 0 + torch.arange(10.0))


def regressor() -> nn.Module:
    return _model(lambda values: values, classes=1)


def flat() -> nn.Module:
    return _model(lambda values: values[:, 0])


def not_a_number() -> nn.Module:
    return _model(lambda values: values * float("nan"))


def fewer_rows() -> nn.Module:
    return _model(lambda values: values[1:])


def pixels() -> nn.Module:
    return _model(lambda values: functional.interpolate(values[:, :, None, None], (32, 32)))


def failing() -> nn.Module:
    return _model(lambda values: values.view(7, 7))


BUILT = logits()
