"""A small residual network for small pictures, to train from scratch where there are few.

Blocks as in ResNet v2 (He et al., "Identity Mappings in Deep Residual Networks", 2016) but in the order of a plain
ResNet; four stages that halve the sides and widen; and the mean over all positions before the one linear layer.
`shardline.training.classifier.model:SmallResNet?num_classes=10` names it on a command line.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

WIDTHS = (32, 64, 128, 256)
BLOCKS = (1, 1, 1, 1)


class SmallResNet(nn.Module):
    """float32 [batch, 3, height, width] -> logits float32 [batch, num_classes], for at least 16 pixels a side.

    A block has two convolutions; there are `blocks[i]` blocks of width `widths[i]`.
    """

    def __init__(self, num_classes: int = 10, widths: Sequence[int] = WIDTHS, blocks: Sequence[int] = BLOCKS) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, widths[0], 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(widths[0]), nn.ReLU()
        )
        stages = []
        before = widths[0]
        for stage, (width, count) in enumerate(zip(widths, blocks, strict=True)):
            first = BasicBlock(before, width, stride=1 if stage == 0 else 2)
            stages.append(nn.Sequential(first, *(BasicBlock(width, width) for _ in range(count - 1))))
            before = width
        self.stages = nn.Sequential(*stages)
        self.head = nn.Linear(before, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")
            if isinstance(module, BasicBlock):
                nn.init.zeros_(module.last.weight)  # each block begins as its shortcut (Goyal et al., 2017)

    def forward(self, pictures: Tensor) -> Tensor:
        """float32 [batch, 3, height, width] -> logits float32 [batch, num_classes]."""
        logits: Tensor = self.head(self.stages(self.stem(pictures)).mean((2, 3)))
        return logits


class BasicBlock(nn.Module):
    """Two convolutions and a shortcut, which halves the sides and widens where they do."""

    def __init__(self, before: int, after: int, stride: int = 1) -> None:
        super().__init__()
        self.before = nn.Sequential(
            nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU()
        )
        self.after = nn.Conv2d(after, after, 3, padding=1, bias=False)
        self.last = nn.BatchNorm2d(after)
        same = before == after and stride == 1
        self.short: nn.Module = nn.Identity() if same else nn.Sequential(
            nn.AvgPool2d(stride, ceil_mode=True) if stride > 1 else nn.Identity(),
            nn.Conv2d(before, after, 1, bias=False),
            nn.BatchNorm2d(after),
        )  # fmt: skip

    def forward(self, value: Tensor) -> Tensor:
        """float32 [batch, before, height, width] -> [batch, after, height / stride, width / stride]."""
        return torch.relu(self.last(self.after(self.before(value))) + self.short(value))
