"""Which character it is that the detector has found: a second look at each, all of them as large as one another.

The detector's maps see a character as small or as large as it is in the picture, amid everything else. The reader sees
each alone, cut out of the picture by its box and brought to one size, one contrast and one brightness: what is left to
learn is the shapes of fifteen characters. It has a ninth of all parameters, and reads fonts better that were never seen
than the maps did (docs/adr/0034-characters-are-read-one-by-one.md).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.detector.layers import Unit, layer

SIDE = 32  # pixels of a cut-out

_ROOM = 1.5  # sides of a cut-out, over the longer side of the character's box
_LEAST_PX = 4.0  # of a longer side: boxes of nothing have none
_FINER = 2  # each pixel of a cut-out is the mean of 2 × 2 that are looked up: large characters do not flicker
_LEAST_SPREAD = 4.0  # of a cut-out's 256 levels: noise on a plain ground is not blown up to characters
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
        return self.said(cut_out(pictures, boxes)).reshape(batch, count, -1)

    def said(self, cut_outs: Tensor) -> Tensor:
        """Normalised [m, 3, 32, 32] -> float32 logits [m, classes]."""
        values = self.layers(self.stem(cut_outs.to(self.places.weight.dtype)))
        logits: Tensor = self.places(functional.relu(self.hidden(values)))
        return logits.flatten(1).float()


def cut_out(pictures: Tensor, boxes: Tensor) -> Tensor:
    """Squares about the boxes, of mean 0 in each colour and spread 1: float32 [batch * n, 3, 32, 32].

    Beyond the picture its edge goes on.
    """
    (batch, count), (height, width) = boxes.shape[:2], pictures.shape[2:]
    fine = _FINER * SIDE
    middles = (boxes[..., :2] + boxes[..., 2:]) / 2
    sides = (boxes[..., 2:] - boxes[..., :2]).amax(2, keepdim=True).clamp(min=_LEAST_PX) * _ROOM
    steps = (torch.arange(fine, device=boxes.device) + 0.5) / fine - 0.5
    x = 2 * (middles[..., :1] + sides * steps) / width - 1  # grid_sample counts from -1 to 1
    y = 2 * (middles[..., 1:] + sides * steps) / height - 1
    grid = torch.stack((x.unsqueeze(2).expand(-1, -1, fine, -1), y.unsqueeze(3).expand(-1, -1, -1, fine)), dim=4)
    looked_up = functional.grid_sample(
        pictures.float(), grid.flatten(1, 2), padding_mode="border", align_corners=False
    )  # [batch, 3, n * fine, fine]
    below = functional.avg_pool2d(looked_up, _FINER).reshape(batch, -1, count, SIDE, SIDE)
    # laid out anew for one picture as for many, or sums over it would round otherwise
    each = below.transpose(1, 2).contiguous().flatten(0, 1)
    each = each - each.mean((2, 3), keepdim=True)
    return each / (each.square().mean((1, 2, 3), keepdim=True).sqrt() + _LEAST_SPREAD)
