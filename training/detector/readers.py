"""The detector's two readers: one for single characters, one for whole plates."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from shardline.training.detector.layers import ConvUnit, residual_layer
from shardline.training.detector.objects import PLACES

_FINER = 2  # each pixel of a cut-out is the mean of 2 × 2 that are looked up: large characters do not flicker
_LEAST_SPREAD = 4.0  # of a cut-out's 256 levels: noise on a plain ground is not blown up to characters

CHARACTER_SIDE = 32  # pixels of a cut-out

_CHARACTER_ROOM = 1.5  # sides of a cut-out, over the longer side of the character's box
_LEAST_CHARACTER_PX = 4.0  # of a longer side: boxes of nothing have none
_CHARACTER_STEM, _CHARACTER_WIDTHS, _CHARACTER_HIDDEN = 24, (48, 96), 128

PLATE_SIZE = 64, 128  # height and width of a cut-out, in pixels

_PLATE_ROOM = 1.15  # of a cut-out, over the plate's own width and height
_ASPECTS = 0.8, 6.5  # of a plate, from the side, too
_LEAST_PLATE_PX = 4.0  # of width and height together
_LEAST_TWIST = 0.3  # of cos² - sin²: near 45° the box says little of width and height
_PLATE_STEM, _PLATE_WIDTHS, _PLATE_DEPTHS = 24, (40, 80, 144), (1, 2, 1)
_PLATE_JOINED, _PLATE_HIDDEN = 80, 128


def crop_rectangles(pictures: Tensor, middles: Tensor, across: Tensor, down: Tensor, size: tuple[int, int]) -> Tensor:
    """Rectangles of mean 0 in each colour and spread 1: float32 [batch * n, 3, *size].

    Beyond a picture its edge goes on.

    Args:
        pictures: uint8 [batch, 3, height, width].
        middles: of the rectangles, in pixels of the pictures: x and y, [batch, n, 2].
        across: from the left side to the right one, [batch, n, 2].
        down: from the upper side to the lower one, [batch, n, 2].
        size: height and width of what is cut out, in pixels.
    """
    (batch, count), (height, width) = middles.shape[:2], pictures.shape[2:]
    fine = [_FINER * each for each in size]
    y, x = ((torch.arange(each, device=middles.device) + 0.5) / each - 0.5 for each in fine)
    rows = middles.unsqueeze(2) + down.unsqueeze(2) * y.view(-1, 1)  # [batch, n, fine rows, 2]
    places = rows.unsqueeze(3) + (across.unsqueeze(2) * x.view(-1, 1)).unsqueeze(2)
    whole = torch.tensor((width, height), device=middles.device)
    grid = 2 * places / whole - 1  # grid_sample counts from -1 to 1
    looked_up = functional.grid_sample(
        pictures.float(), grid.flatten(1, 2), padding_mode="border", align_corners=False
    )  # [batch, 3, n * fine rows, fine columns]
    below = functional.avg_pool2d(looked_up, _FINER).reshape(batch, -1, count, *size)
    # laid out anew for one picture as for many, or sums over it would round otherwise
    each = below.transpose(1, 2).contiguous().flatten(0, 1)
    each = each - each.mean((2, 3), keepdim=True)
    return each / (each.square().mean((1, 2, 3), keepdim=True).sqrt() + _LEAST_SPREAD)


class CharacterReader(nn.Module):
    """uint8 pictures [batch, 3, height, width], boxes [batch, n, 4] in their pixels -> logits [batch, n, classes]."""

    def __init__(self, classes: int, *, normed: bool) -> None:
        super().__init__()
        self.stem = ConvUnit(3, _CHARACTER_STEM, 2, normed=normed)
        befores = (_CHARACTER_STEM, *_CHARACTER_WIDTHS[:-1])
        self.layers = nn.Sequential(
            *(
                residual_layer(before, after, 1, normed=normed)
                for before, after in zip(befores, _CHARACTER_WIDTHS, strict=True)
            )
        )
        left = CHARACTER_SIDE >> 1 + len(_CHARACTER_WIDTHS)
        self.hidden = nn.Conv2d(_CHARACTER_WIDTHS[-1], _CHARACTER_HIDDEN, left)
        self.places = nn.Conv2d(_CHARACTER_HIDDEN, classes, 1)

    def forward(self, pictures: Tensor, boxes: Tensor) -> Tensor:
        batch, count = boxes.shape[:2]
        return self.said(crop_characters(pictures, boxes)).reshape(batch, count, -1)

    def said(self, cut_outs: Tensor) -> Tensor:
        """Normalised [m, 3, 32, 32] -> float32 logits [m, classes]."""
        values = self.layers(self.stem(cut_outs.to(self.places.weight.dtype)))
        logits: Tensor = self.places(functional.relu(self.hidden(values)))
        return logits.flatten(1).float()


def crop_characters(pictures: Tensor, boxes: Tensor) -> Tensor:
    """Squares about the boxes, [batch * n, 3, 32, 32]; see `crop_rectangles`."""
    sides = (boxes[..., 2:] - boxes[..., :2]).amax(2, keepdim=True).clamp(min=_LEAST_CHARACTER_PX) * _CHARACTER_ROOM
    nothing = torch.zeros_like(sides)
    across, down = torch.cat((sides, nothing), dim=2), torch.cat((nothing, sides), dim=2)
    return crop_rectangles(
        pictures, (boxes[..., :2] + boxes[..., 2:]) / 2, across, down, (CHARACTER_SIDE, CHARACTER_SIDE)
    )


class TextReader(nn.Module):
    """uint8 pictures [batch, 3, height, width], boards in their pixels -> logits [batch, n, 7, classes + 1].

    The last class: there is nothing to be read at that place.
    """

    def __init__(self, classes: int, *, normed: bool) -> None:
        super().__init__()
        self.stem = ConvUnit(3, _PLATE_STEM, 2, normed=normed)
        befores = (_PLATE_STEM, *_PLATE_WIDTHS[:-1])
        self.layers = nn.ModuleList(
            residual_layer(before, after, depth, normed=normed)
            for before, after, depth in zip(befores, _PLATE_WIDTHS, _PLATE_DEPTHS, strict=True)
        )
        self.near, self.far = (
            nn.Conv2d(_PLATE_WIDTHS[-2], _PLATE_JOINED, 1),
            nn.Conv2d(_PLATE_WIDTHS[-1], _PLATE_JOINED, 1),
        )
        self.join = ConvUnit(_PLATE_JOINED, _PLATE_JOINED, normed=normed)
        self.where = nn.Conv2d(_PLATE_JOINED, PLACES, 1)
        self.usual = nn.Parameter(
            torch.zeros(PLACES, *(side >> 3 for side in PLATE_SIZE))
        )  # where each place mostly is
        self.hidden = nn.Conv2d(_PLATE_JOINED, _PLATE_HIDDEN, 1)
        self.leaning = nn.Parameter(torch.zeros(_PLATE_HIDDEN, PLACES))  # what it is that a place mostly bears
        self.places = nn.Conv2d(_PLATE_HIDDEN, classes + 1, 1)

    def forward(self, pictures: Tensor, boxes: Tensor, turns: Tensor) -> Tensor:
        """`boxes` [batch, n, 4] with upright sides, `turns` [batch, n, 2]: cosine and sine of the plate's direction."""
        batch, count = boxes.shape[:2]
        said = self.said(crop_boards(pictures, boxes, turns))
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


def crop_boards(pictures: Tensor, boxes: Tensor, turns: Tensor) -> Tensor:
    """Boards turned upright, [batch * n, 3, 64, 128]; see `crop_rectangles`.

    A box is `width * cos + height * sin` wide and `width * sin + height * cos` high, which tells both.
    """
    sizes = boxes[..., 2:] - boxes[..., :2]
    wide, high = sizes[..., :1], sizes[..., 1:]
    cos, sin = turns[..., :1].abs(), turns[..., 1:].abs()
    twist = (cos * cos - sin * sin).clamp(min=_LEAST_TWIST)
    width, height = (wide * cos - high * sin) / twist, (high * cos - wide * sin) / twist
    aspect = (width.clamp(min=1e-3) / height.clamp(min=1e-3)).clamp(*_ASPECTS)
    height = (wide + high).clamp(min=_LEAST_PLATE_PX) / ((cos + sin).clamp(min=1.0) * (1 + aspect)) * _PLATE_ROOM
    across = turns * (aspect * height)
    down = torch.stack((-turns[..., 1], turns[..., 0]), dim=2) * height
    return crop_rectangles(pictures, (boxes[..., :2] + boxes[..., 2:]) / 2, across, down, PLATE_SIZE)
