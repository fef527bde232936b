"""What is written on a plate, read as a whole: a third look, at each board, turned upright and brought to one size.

The other reader (reader.py) tells one character from others, wherever the maps have found one. This one knows that a
plate has seven places, and where they are: it looks for each in turn, by attention over the plate (after the parallel
attention of scene text readers: Yu et al., "Towards Accurate Scene Text Recognition with Semantic Reasoning Networks",
2020), and reads what is there. A character that the maps have missed, or one too many, is no trouble to it. The two err
in other ways, and the task weighs what both say (docs/adr/0035-plates-are-read-twice.md).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from shardline.training.detector.cut_outs import cut_out
from shardline.training.detector.layers import Unit, layer
from shardline.training.detector.things import PLACES

SIZE = 64, 128  # height and width of a cut-out, in pixels

_ROOM = 1.15  # of a cut-out, over the plate's own width and height
_ASPECTS = 0.8, 6.5  # of a plate, from the side, too
_LEAST_PX = 4.0  # of width and height together
_LEAST_TWIST = 0.3  # of cos² - sin²: near 45° the box says little of width and height
_STEM, _WIDTHS, _DEPTHS = 24, (40, 80, 144), (1, 2, 1)
_JOINED, _HIDDEN = 80, 128


class TextReader(nn.Module):
    """uint8 pictures [batch, 3, height, width], boards in their pixels -> logits [batch, n, 7, classes + 1].

    The last class: there is nothing to be read at that place.
    """

    def __init__(self, classes: int, *, normed: bool) -> None:
        super().__init__()
        self.stem = Unit(3, _STEM, 2, normed=normed)
        befores = (_STEM, *_WIDTHS[:-1])
        self.layers = nn.ModuleList(
            layer(before, after, depth, normed=normed)
            for before, after, depth in zip(befores, _WIDTHS, _DEPTHS, strict=True)
        )
        self.near, self.far = nn.Conv2d(_WIDTHS[-2], _JOINED, 1), nn.Conv2d(_WIDTHS[-1], _JOINED, 1)
        self.join = Unit(_JOINED, _JOINED, normed=normed)
        self.where = nn.Conv2d(_JOINED, PLACES, 1)
        self.usual = nn.Parameter(torch.zeros(PLACES, *(side >> 3 for side in SIZE)))  # where each place mostly is
        self.hidden = nn.Conv2d(_JOINED, _HIDDEN, 1)
        self.leaning = nn.Parameter(torch.zeros(_HIDDEN, PLACES))  # what it is that a place mostly bears
        self.places = nn.Conv2d(_HIDDEN, classes + 1, 1)

    def forward(self, pictures: Tensor, boxes: Tensor, turns: Tensor) -> Tensor:
        """`boxes` [batch, n, 4] with upright sides, `turns` [batch, n, 2]: cosine and sine of the plate's direction."""
        batch, count = boxes.shape[:2]
        said = self.said(cut_out_boards(pictures, boxes, turns))
        return said.reshape(batch, count, *said.shape[1:])

    def said(self, cut_outs: Tensor) -> Tensor:
        """Normalised [m, 3, 64, 128] -> float32 logits [m, 7, classes + 1]."""
        values = self.stem(cut_outs.to(self.places.weight.dtype))
        levels = []
        for halved in self.layers:
            values = halved(values)
            levels.append(values)
        far = functional.interpolate(self.far(levels[2]), scale_factor=2.0, mode="nearest")
        joined = self.join(self.near(levels[1]) + far)
        shares = (self.where(joined) + self.usual).flatten(2).softmax(2)  # [m, 7, places of the map]
        looked_at = torch.matmul(joined.flatten(2), shares.transpose(1, 2)).unsqueeze(3)  # [m, features, 7, 1]
        hidden = functional.relu(self.hidden(looked_at) + self.leaning.unsqueeze(2))
        logits: Tensor = self.places(hidden)
        return logits.squeeze(3).transpose(1, 2).float()


def cut_out_boards(pictures: Tensor, boxes: Tensor, turns: Tensor) -> Tensor:
    """Boards turned upright, [batch * n, 3, 64, 128]; see `cut_out`.

    A box is `width * cos + height * sin` wide and `width * sin + height * cos` high, which tells both.
    """
    sizes = boxes[..., 2:] - boxes[..., :2]
    wide, high = sizes[..., :1], sizes[..., 1:]
    cos, sin = turns[..., :1].abs(), turns[..., 1:].abs()
    twist = (cos * cos - sin * sin).clamp(min=_LEAST_TWIST)
    width, height = (wide * cos - high * sin) / twist, (high * cos - wide * sin) / twist
    aspect = (width.clamp(min=1e-3) / height.clamp(min=1e-3)).clamp(*_ASPECTS)
    height = (wide + high).clamp(min=_LEAST_PX) / ((cos + sin).clamp(min=1.0) * (1 + aspect)) * _ROOM
    across = turns * (aspect * height)
    down = torch.stack((-turns[..., 1], turns[..., 0]), dim=2) * height
    return cut_out(pictures, (boxes[..., :2] + boxes[..., 2:]) / 2, across, down, SIZE)
