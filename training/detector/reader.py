"""Which character it is that the detector has found: a second look at each, all of them as large as one another.

The detector's maps see a character as small or as large as it is in the picture, amid everything else. The reader sees
each alone, cut out of the picture by its box and brought to one size, one contrast and one brightness: what is left to
learn is the shapes of fifteen characters. It has a ninth of all parameters, and reads fonts better that were never seen
than the maps did (docs/adr/0034-characters-are-read-one-by-one.md).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from shardline.training.detector.cut_outs import cut_out
from shardline.training.detector.layers import Unit, layer

SIDE = 32  # pixels of a cut-out

_ROOM = 1.5  # sides of a cut-out, over the longer side of the character's box
_LEAST_PX = 4.0  # of a longer side: boxes of nothing have none
_STEM, _WIDTHS, _HIDDEN = 24, (48, 96), 128


class Reader(nn.Module):
    """uint8 pictures [batch, 3, height, width], boxes [batch, n, 4] in their pixels -> logits [batch, n, classes]."""

    def __init__(self, classes: int, *, normed: bool) -> None:
        super().__init__()
        self.stem = Unit(3, _STEM, 2, normed=normed)
        befores = (_STEM, *_WIDTHS[:-1])
        self.layers = nn.Sequential(
            *(layer(before, after, 1, normed=normed) for before, after in zip(befores, _WIDTHS, strict=True))
        )
        left = SIDE >> 1 + len(_WIDTHS)
        self.hidden = nn.Conv2d(_WIDTHS[-1], _HIDDEN, left)
        self.places = nn.Conv2d(_HIDDEN, classes, 1)

    def forward(self, pictures: Tensor, boxes: Tensor) -> Tensor:
        batch, count = boxes.shape[:2]
        return self.said(cut_out_characters(pictures, boxes)).reshape(batch, count, -1)

    def said(self, cut_outs: Tensor) -> Tensor:
        """Normalised [m, 3, 32, 32] -> float32 logits [m, classes]."""
        values = self.layers(self.stem(cut_outs.to(self.places.weight.dtype)))
        logits: Tensor = self.places(functional.relu(self.hidden(values)))
        return logits.flatten(1).float()


def cut_out_characters(pictures: Tensor, boxes: Tensor) -> Tensor:
    """Squares about the boxes, [batch * n, 3, 32, 32]; see `cut_out`."""
    sides = (boxes[..., 2:] - boxes[..., :2]).amax(2, keepdim=True).clamp(min=_LEAST_PX) * _ROOM
    nothing = torch.zeros_like(sides)
    across, down = torch.cat((sides, nothing), dim=2), torch.cat((nothing, sides), dim=2)
    return cut_out(pictures, (boxes[..., :2] + boxes[..., 2:]) / 2, across, down, (SIDE, SIDE))
