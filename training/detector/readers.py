"""The detector's two readers: one for single characters, one for whole plates, both on normalised crops of the picture.

The detector's maps see a character at the size that it has in the picture, amid everything else. A reader sees crops of
one size, one contrast and one brightness: what is left to learn is shapes. The character reader classifies each box
that the maps have found. It has a ninth of all parameters, and reads fonts that it never saw better than the maps did
(docs/adr/0034-characters-are-read-one-by-one.md).

The text reader sees each board as a whole, turned upright. It knows that a plate has seven positions: it looks for each
by attention over the plate (after the parallel attention of scene text readers: Yu et al., "Towards Accurate Scene Text
Recognition with Semantic Reasoning Networks", 2020), and reads what is there, so a character that the maps have missed,
or one too many, does no harm. The two make different mistakes, and the task weighs both
(docs/adr/0035-plates-are-read-twice.md).
"""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from shardline.training.detector.layers import ConvUnit, residual_layer

CHARACTER_SIDE = 32  # pixels of a character's crop
PLATE_SIZE = 64, 128  # height and width of a plate's crop, in pixels

_OVERSAMPLING = 2  # a pixel of a crop is the mean of 2 × 2 samples, so that large characters do not flicker
_LEAST_SPREAD = 4.0  # of 256 levels: noise on a plain background is not amplified to characters
_CHARACTER_ROOM = 1.5  # side of a crop, over the longer side of the character's box
_LEAST_CHARACTER_PX = 4.0  # of the longer side: empty boxes have none
_CHARACTER_STEM, _CHARACTER_WIDTHS, _CHARACTER_HIDDEN = 24, (48, 96), 128  # channels
_PLATE_ROOM = 1.15  # of a crop, over the plate's own width and height
_ASPECTS = 0.8, 6.5  # of a plate, also seen from the side
_LEAST_PLATE_PX = 4.0  # of width and height together
_LEAST_TWIST = 0.3  # of cos² - sin²: near 45° the box does not determine width and height
_PLATE_STEM, _PLATE_WIDTHS, _PLATE_DEPTHS = 24, (40, 80, 144), (1, 2, 1)  # channels, residual blocks
_PLATE_JOINED, _PLATE_HIDDEN = 80, 128


class CharacterReader(nn.Module):
    """Classifier of the characters in boxes."""

    def __init__(self, classes: int, *, normed: bool) -> None:
        super().__init__()
        self.stem = ConvUnit(3, _CHARACTER_STEM, 2, normed=normed)
        widths = (_CHARACTER_STEM, *_CHARACTER_WIDTHS)
        self.layers = nn.Sequential(
            *(residual_layer(before, after, 1, normed=normed) for before, after in pairwise(widths))
        )
        self.hidden = nn.Conv2d(_CHARACTER_WIDTHS[-1], _CHARACTER_HIDDEN, CHARACTER_SIDE >> 1 + len(_CHARACTER_WIDTHS))
        self.places = nn.Conv2d(_CHARACTER_HIDDEN, classes, 1)

    def forward(self, pictures: Tensor, boxes: Tensor) -> Tensor:
        """Logits float32 [batch, n, classes] of boxes [batch, n, 4] in pictures, uint8 [batch, 3, height, width]."""
        batch, count = boxes.shape[:2]
        return self.logits(crop_characters(pictures, boxes)).reshape(batch, count, -1)

    def logits(self, crops: Tensor) -> Tensor:
        """Normalised crops float [m, 3, 32, 32] -> logits float32 [m, classes]."""
        values = self.layers(self.stem(crops.to(self.places.weight.dtype)))
        logits: Tensor = self.places(functional.relu(self.hidden(values)))
        return logits.flatten(1).float()


class TextReader(nn.Module):
    """Reader of whole plates; the last class of a position means that there is nothing to read.

    Attributes (the names are those in weights files):
        usual: where each position usually is, logits of attention float32 [7, 8, 16].
        leaning: which class each position usually has, float32 [hidden, 7].
    """

    def __init__(self, classes: int, positions: int, *, normed: bool) -> None:
        super().__init__()
        self.stem = ConvUnit(3, _PLATE_STEM, 2, normed=normed)
        widths = (_PLATE_STEM, *_PLATE_WIDTHS)
        self.layers = nn.ModuleList(
            residual_layer(before, after, depth, normed=normed)
            for (before, after), depth in zip(pairwise(widths), _PLATE_DEPTHS, strict=True)
        )
        self.near = nn.Conv2d(_PLATE_WIDTHS[-2], _PLATE_JOINED, 1)
        self.far = nn.Conv2d(_PLATE_WIDTHS[-1], _PLATE_JOINED, 1)
        self.join = ConvUnit(_PLATE_JOINED, _PLATE_JOINED, normed=normed)
        self.where = nn.Conv2d(_PLATE_JOINED, positions, 1)
        self.usual = nn.Parameter(torch.zeros(positions, *(side >> 3 for side in PLATE_SIZE)))
        self.hidden = nn.Conv2d(_PLATE_JOINED, _PLATE_HIDDEN, 1)
        self.leaning = nn.Parameter(torch.zeros(_PLATE_HIDDEN, positions))
        self.places = nn.Conv2d(_PLATE_HIDDEN, classes + 1, 1)

    def forward(self, pictures: Tensor, boxes: Tensor, orientations: Tensor) -> Tensor:
        """Logits float32 [batch, n, 7, classes + 1] of plates in pictures, uint8 [batch, 3, height, width].

        Args:
            boxes: upright boxes, float [batch, n, 4].
            orientations: cosine and sine of the plates' orientation, float [batch, n, 2].
        """
        batch, count = boxes.shape[:2]
        logits = self.logits(crop_boards(pictures, boxes, orientations))
        return logits.reshape(batch, count, *logits.shape[1:])

    def logits(self, crops: Tensor) -> Tensor:
        """Normalised crops float [m, 3, 64, 128] -> logits float32 [m, 7, classes + 1]."""
        values = self.stem(crops.to(self.places.weight.dtype))
        levels = []  # strides 4, 8 and 16
        for halved in self.layers:
            values = halved(values)
            levels.append(values)
        far = functional.interpolate(self.far(levels[2]), scale_factor=2.0, mode="nearest")
        joined = self.join(self.near(levels[1]) + far)  # [m, features, 8, 16]
        attention = (self.where(joined) + self.usual).flatten(2).softmax(2)  # [m, 7, 128]
        attended = torch.matmul(joined.flatten(2), attention.transpose(1, 2)).unsqueeze(3)  # [m, features, 7, 1]
        hidden = functional.relu(self.hidden(attended) + self.leaning.unsqueeze(2))
        logits: Tensor = self.places(hidden)
        return logits.squeeze(3).transpose(1, 2).float()


def crop_characters(pictures: Tensor, boxes: Tensor) -> Tensor:
    """Square crops around boxes [batch, n, 4] -> float32 [batch * n, 3, 32, 32]; see `crop_rectangles`."""
    sides = (boxes[..., 2:] - boxes[..., :2]).amax(2, keepdim=True).clamp(min=_LEAST_CHARACTER_PX) * _CHARACTER_ROOM
    zeros = torch.zeros_like(sides)
    across, down = torch.cat((sides, zeros), dim=2), torch.cat((zeros, sides), dim=2)
    size = CHARACTER_SIDE, CHARACTER_SIDE
    return crop_rectangles(pictures, (boxes[..., :2] + boxes[..., 2:]) / 2, across, down, size)


def crop_boards(pictures: Tensor, boxes: Tensor, orientations: Tensor) -> Tensor:
    """Crops of plates turned upright -> float32 [batch * n, 3, 64, 128]; see `crop_rectangles`.

    An upright box is `width * cos + height * sin` wide and `width * sin + height * cos` high, which determines the
    plate's own width and height.

    Args:
        pictures: uint8 [batch, 3, height, width].
        boxes: upright boxes, float [batch, n, 4].
        orientations: cosine and sine, float [batch, n, 2].
    """
    sizes = boxes[..., 2:] - boxes[..., :2]
    wide, high = sizes[..., :1], sizes[..., 1:]  # [batch, n, 1] each
    cos, sin = orientations[..., :1].abs(), orientations[..., 1:].abs()
    twist = (cos * cos - sin * sin).clamp(min=_LEAST_TWIST)
    width, height = (wide * cos - high * sin) / twist, (high * cos - wide * sin) / twist
    aspect = (width.clamp(min=1e-3) / height.clamp(min=1e-3)).clamp(*_ASPECTS)
    # with the clamped aspect, the height that fits width and height of the box together
    height = (wide + high).clamp(min=_LEAST_PLATE_PX) / ((cos + sin).clamp(min=1.0) * (1 + aspect)) * _PLATE_ROOM
    across = orientations * (aspect * height)
    down = torch.stack((-orientations[..., 1], orientations[..., 0]), dim=2) * height
    return crop_rectangles(pictures, (boxes[..., :2] + boxes[..., 2:]) / 2, across, down, PLATE_SIZE)


def crop_rectangles(pictures: Tensor, centres: Tensor, across: Tensor, down: Tensor, size: tuple[int, int]) -> Tensor:
    """Rotated crops of one size, with mean 0 in each colour and standard deviation 1: float32 [batch * n, 3, *size].

    Beyond the border of a picture its edge pixels are repeated.

    Args:
        pictures: uint8 [batch, 3, height, width].
        centres: of the rectangles in pixels, x and y: float [batch, n, 2].
        across: vectors from the left side to the right one, [batch, n, 2].
        down: vectors from the upper side to the lower one, [batch, n, 2].
        size: height and width of a crop in pixels.
    """
    (batch, count), (height, width) = centres.shape[:2], pictures.shape[2:]
    fine = [_OVERSAMPLING * side for side in size]
    y, x = ((torch.arange(side, device=centres.device) + 0.5) / side - 0.5 for side in fine)  # -0.5 to 0.5
    rows = centres.unsqueeze(2) + down.unsqueeze(2) * y.view(-1, 1)  # [batch, n, fine rows, 2]
    points = rows.unsqueeze(3) + (across.unsqueeze(2) * x.view(-1, 1)).unsqueeze(2)  # [batch, n, fine rows, columns, 2]
    grid = 2 * points / torch.tensor((width, height), device=centres.device) - 1  # grid_sample counts from -1 to 1
    sampled = functional.grid_sample(
        pictures.float(), grid.flatten(1, 2), padding_mode="border", align_corners=False
    )  # [batch, 3, n * fine rows, fine columns]
    crops = functional.avg_pool2d(sampled, _OVERSAMPLING).reshape(batch, -1, count, *size)
    # contiguous for one picture as for many: otherwise sums over it would be rounded differently
    crops = crops.transpose(1, 2).contiguous().flatten(0, 1)
    crops = crops - crops.mean((2, 3), keepdim=True)
    return crops / (crops.square().mean((1, 2, 3), keepdim=True).sqrt() + _LEAST_SPREAD)
