"""What the detector and its reader are made of: convolutions of 3 × 3, and two of them with what goes past."""

from torch import Tensor, nn
from torch.nn import functional


class Unit(nn.Sequential):
    """A convolution of 3 × 3, normalised over the batch while it is trained, and a ReLU if not `last`."""

    def __init__(self, before: int, after: int, stride: int = 1, *, normed: bool, last: bool = False) -> None:
        conv = nn.Conv2d(before, after, 3, stride, padding=1, bias=not normed)
        nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
        layers = [conv, *([nn.BatchNorm2d(after)] if normed else []), *([] if last else [nn.ReLU(inplace=True)])]
        super().__init__(*layers)


class Block(nn.Module):
    """Two convolutions and what goes past them (He et al., 2015)."""

    def __init__(self, width: int, *, normed: bool) -> None:
        super().__init__()
        self.one = Unit(width, width, normed=normed)
        self.two = Unit(width, width, normed=normed, last=True)
        if isinstance(self.two[-1], nn.BatchNorm2d):
            nn.init.zeros_(self.two[-1].weight)  # each block begins as what goes past it (Goyal et al., 2017)

    def forward(self, values: Tensor) -> Tensor:
        return functional.relu(values + self.two(self.one(values)))


def layer(before: int, after: int, depth: int, *, normed: bool) -> nn.Sequential:
    """Half as fine, then `depth` blocks."""
    return nn.Sequential(Unit(before, after, 2, normed=normed), *(Block(after, normed=normed) for _ in range(depth)))
