"""The detector of plates: where boards, groups and characters are, how large, and which; without anchors.

A residual network of 3 × 3 convolutions and a feature pyramid give, for each kind of thing, a heat map whose peaks are
the centres of things, with offset, size and class beside them (after CenterNet: Zhou, Wang, Krähenbühl, "Objects as
Points", 2019, which has a heat map a class). The kinds have maps of their own, since the centres of a board, a group
and a character may coincide.

Most of the work of such a network is done where its maps are finest. Here the last layer of each head makes four
places out of one (sub-pixel convolution: Shi et al., 2016): characters are told at stride 2 from features at stride 4,
boards and groups at stride 4 from features at stride 8. Neighbouring characters of a plate of 64 pixels are 7 pixels
apart, which are three places at stride 2 and less than two at stride 4: too near to be two peaks.

What is too large for these maps is looked for by the same network, with the same weights, in the picture at half and at
a quarter of its size (an image pyramid): whatever it has learnt of plates of 70 to 180 pixels it then knows of those of
280 to 720. Each level keeps things of its sizes, and of two boxes of one thing the surer.

Which character it is the maps do not say: the reader looks at each again, in the picture itself (reader.py). So does
the reader of texts at each board, as a whole (text_reader.py).

Decoding is part of the network and has fixed shapes: any plan may cut through it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from shardline.partition.models import IMAGENET_MEAN, IMAGENET_STD
from shardline.training.detector.layers import ConvUnit, residual_layer
from shardline.training.detector.objects import BOARDS, CHARACTERS, GROUPS
from shardline.training.detector.readers import CharacterReader, TextReader

OUTPUTS = (
    "board_boxes",  # [batch, 16, 4]: left, top, right, bottom in pixels of the input, not cut to it
    "board_scores",  # [batch, 16, 2]: of each class, 0 to 1; all 0 where there is no peak any more
    "board_turns",  # [batch, 16, 2]: cosine and sine of the plate's direction, clockwise, y down
    "group_boxes",  # [batch, 32, 4]
    "group_scores",  # [batch, 32, 4]
    "character_boxes",  # [batch, 128, 4]
    "character_scores",  # [batch, 128, 15]
    "board_texts",  # [batch, 16, 7, 16]: of each place of a board's text the chances of 0-9, a-e, and of nothing
)
LEVELS = 3  # of the image pyramid: the picture, a half of it, a quarter
LEAST_SIDE = 32 << LEVELS - 1  # height and width of the input are multiples of it: the stride at the last level
STRIDES = (4, 4, 2)  # of the maps of boards, groups and characters: pixels from place to place
# longer side of what a level keeps, in its own pixels, of each kind; see `decode`
SIZES = ((70.0, 180.0), (0.0, 180.0), (14.0, 40.0))

_MOST_BOARDS, _MOST_GROUPS, _MOST_CHARACTERS = 16, 32, 128
_STEM, _WIDTHS, _DEPTHS = 24, (48, 96, 160, 224), (2, 2, 2, 2)  # channels at stride 2, then 4 to 32; their blocks
_PYRAMID = (48, 64, 64, 64)  # channels at strides 4 to 32
_HEAD = 64
_RARE = 0.01  # a place's first score: RetinaNet's prior (Lin et al., 2017), against a first loss of negatives alone
_LARGEST_LOG = 7.0  # of a size in strides: a factor of 1096, more than any picture's
_LEAST_TURN = 1e-3  # length of a direction that is still told from none
_NEVER = -1e4  # logit of what is no peak: a score of 0 in any precision, and a number that may cross a cut
_SAME = 0.6  # two boxes of a kind whose IoU is more are of one thing


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadMaps:
    """What the heads say of one kind at every place, before it is decoded."""

    heat: Tensor  # [batch, 1, height, width]: logits; a peak is a thing's centre
    classes: Tensor | None = None  # [batch, classes, height, width]: logits of which it is; characters have none
    shape: Tensor  # [batch, 4, height, width]: offset of the centre in the place (x, y), log of width and height
    turn: Tensor | None = None  # [batch, 2, height, width]: cosine and sine, of any length; boards have it
    stride: int  # pixels from place to place


class DetectionHead(nn.Module):
    """HeadMaps of one kind, twice as fine as the features that they are made of."""

    def __init__(self, before: int, classes: int, stride: int, *, turns: bool, normed: bool) -> None:
        super().__init__()
        self.stride = stride
        self.sizes = [1, classes, 4] + [2] * turns
        self.features = ConvUnit(before, _HEAD, normed=normed)
        self.places = nn.Conv2d(_HEAD, 4 * sum(self.sizes), 1)
        nn.init.normal_(self.places.weight, std=0.01)
        first = torch.zeros(sum(self.sizes))
        first[0] = -math.log((1 - _RARE) / _RARE)
        first[classes + 1 : classes + 3] = 0.5
        first[classes + 3 : classes + 5] = 1.0
        self.places.bias = nn.Parameter(first.repeat_interleave(4))

    def forward(self, values: Tensor) -> HeadMaps:
        fine = functional.pixel_shuffle(self.places(self.features(values)), 2)
        heat, classes, shape, *turn = torch.split(fine, self.sizes, dim=1)
        return HeadMaps(
            heat=heat,
            classes=classes if classes.shape[1] else None,
            shape=shape,
            turn=turn[0] if turn else None,
            stride=self.stride,
        )


class FeaturePyramid(nn.Module):
    """Features at strides 4 and 8 that know what those at 8, 16 and 32 say (Lin et al., 2016)."""

    def __init__(self, *, normed: bool) -> None:
        super().__init__()
        pairs = list(zip(_WIDTHS, _PYRAMID, strict=True))
        self.across = nn.ModuleList(nn.Conv2d(width, after, 1) for width, after in pairs)
        self.down = nn.Conv2d(_PYRAMID[1], _PYRAMID[0], 1)  # before it is enlarged: a quarter of the work
        self.join = nn.ModuleList(ConvUnit(after, after, normed=normed) for after in _PYRAMID[:3])

    def forward(self, at: list[Tensor]) -> tuple[Tensor, Tensor]:
        far = self.across[3](at[3])
        middle = self.join[2](self.across[2](at[2]) + _enlarged(far))
        near = self.join[1](self.across[1](at[1]) + _enlarged(middle))
        finest = self.join[0](self.across[0](at[0]) + _enlarged(self.down(near)))
        return finest, near


class PlateDetector(nn.Module):
    """Normalised float32 [batch, 3, height, width], multiples of 128 -> what is found, best first: see OUTPUTS.

    Without arguments it is what is shipped and served. `normed` has batch normalisation behind each convolution, to
    train with; `training/detector/fold.py` takes it out again.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, *, normed: bool = False) -> None:
        super().__init__()
        self.normed = normed
        for name, values in (("mean", IMAGENET_MEAN), ("std", IMAGENET_STD)):
            self.register_buffer(name, torch.tensor(values).view(1, 3, 1, 1), persistent=False)
        self.stem = ConvUnit(3, _STEM, 2, normed=normed)
        befores = (_STEM, *_WIDTHS[:-1])
        self.layers = nn.ModuleList(
            residual_layer(before, width, depth, normed=normed)
            for before, width, depth in zip(befores, _WIDTHS, _DEPTHS, strict=True)
        )
        self.pyramid = FeaturePyramid(normed=normed)
        self.boards = DetectionHead(_PYRAMID[1], len(BOARDS), STRIDES[0], turns=True, normed=normed)
        self.groups = DetectionHead(_PYRAMID[1], len(GROUPS), STRIDES[1], turns=False, normed=normed)
        self.characters = DetectionHead(_PYRAMID[0], 0, STRIDES[2], turns=False, normed=normed)
        self.reader = CharacterReader(len(CHARACTERS), normed=normed)
        self.text_reader = TextReader(len(CHARACTERS), normed=normed)

    def maps(self, pictures: Tensor) -> tuple[HeadMaps, HeadMaps, HeadMaps]:
        """Of boards, groups and characters at one level, not decoded: what the loss compares."""
        values = self.stem(pictures)
        levels = []
        for halved in self.layers:
            values = halved(values)
            levels.append(values)
        finest, near = self.pyramid(levels)
        return self.boards(near), self.groups(near), self.characters(finest)

    def heads(
        self, pictures: Tensor, characters: Tensor, plates: Tensor
    ) -> tuple[tuple[HeadMaps, ...], Tensor, Tensor]:
        """`maps`, and what the two readers say of cut-outs: all that is trained."""
        return self.maps(pictures), self.reader.said(characters), self.text_reader.said(plates)

    def pixels(self, pictures: Tensor) -> Tensor:
        """Normalised pictures -> uint8, as they were."""
        return ((pictures.float() * self.std.float() + self.mean.float()) * 255).round().clamp(0, 255).to(torch.uint8)

    def levels(self, pictures: Tensor) -> list[tuple[HeadMaps, ...]]:
        """Of each kind: the maps of the picture, of a half of it, and of a quarter.

        Raises:
            ValueError: a height or width that is no multiple of 128.
        """
        if pictures.shape[2] % LEAST_SIDE or pictures.shape[3] % LEAST_SIDE:
            size = f"{pictures.shape[3]} x {pictures.shape[2]}"
            raise ValueError(f"pictures of {size}: take a multiple of {LEAST_SIDE} for both, e.g. 512")
        smaller = [functional.avg_pool2d(pictures, 2**level) for level in range(1, LEVELS)]
        last = [self.maps(each) for each in reversed(smaller)]  # first: little is left of them to carry on
        return list(zip(self.maps(pictures), *reversed(last), strict=True))

    def forward(self, pictures: Tensor) -> tuple[Tensor, ...]:
        seen = self.pixels(pictures)  # a quarter of the bytes, for what has to be carried to the end
        boards, groups, characters = self.levels(pictures)
        board_boxes, board_scores, board_turns = decode(boards, _MOST_BOARDS, SIZES[0])
        boxes, scores = decode(characters, _MOST_CHARACTERS, SIZES[2])
        return (
            board_boxes,
            board_scores,
            board_turns,
            *decode(groups, _MOST_GROUPS, SIZES[1]),
            boxes,
            scores * self.reader(seen, boxes).softmax(2),
            self.text_reader(seen, board_boxes, board_turns).softmax(3),
        )


def decode(levels: Sequence[HeadMaps], most: int, sizes: tuple[float, float] = (0.0, math.inf)) -> tuple[Tensor, ...]:
    """The `most` highest peaks -> boxes [batch, most, 4], scores [batch, most, classes] and, if any, turns.

    A class's score is the peak's times the class's share; without classes there is one. In fp32 whatever the network's
    precision is: bf16 tells pixels of 512 apart only in steps of 2 or 4.

    Args:
        levels: maps of the picture, then of the picture at half its size, and so on.
        sizes: least and most of a box's longer side, in pixels of its level; the first level keeps what is smaller
            besides, and the last what is larger.
    """
    ends = len(levels) - 1
    found = [
        _things(maps, most, 2**level, sizes[0] if level else 0.0, sizes[1] if level < ends else math.inf)
        for level, maps in enumerate(levels)
    ]
    logits, *values = (torch.cat(each, dim=1) for each in zip(*found, strict=True))
    kept, index = logits.masked_fill(_is_one_before(logits, values[0]), _NEVER).topk(most)
    boxes, shares, *turns = (each.gather(1, index.unsqueeze(2).expand(-1, -1, each.shape[2])) for each in values)
    return boxes, kept.sigmoid().unsqueeze(2) * shares, *turns


def _things(maps: HeadMaps, most: int, shrunk: int, least_px: float, most_px: float) -> tuple[Tensor, ...]:
    """The highest peaks of one level -> logits [batch, most], boxes, shares of classes and, if any, turns.

    A box of another size has the logit of no peak.
    """
    heat = maps.heat.masked_fill(~_peaks(maps.heat), _NEVER).flatten(1)
    logits, index = heat.topk(min(most, heat.shape[1]))
    shares = torch.ones_like(logits).unsqueeze(2) if maps.classes is None else _at(maps.classes, index).softmax(2)
    shape, width = _at(maps.shape, index), maps.heat.shape[3]
    places = torch.stack((index % width, torch.div(index, width, rounding_mode="floor")), dim=2)
    middles = places + shape[:, :, :2]
    sizes = shape[:, :, 2:].clamp(max=_LARGEST_LOG).exp()
    boxes = torch.cat((middles - sizes / 2, middles + sizes / 2), dim=2) * (maps.stride * shrunk)
    longer = sizes.amax(2) * maps.stride
    logits = logits.float().masked_fill((longer < least_px) | (longer > most_px), _NEVER)
    if maps.turn is None:
        return logits, boxes, shares
    turn = _at(maps.turn, index)
    return logits, boxes, shares, turn / turn.square().sum(2, keepdim=True).sqrt().clamp(min=_LEAST_TURN)


def _is_one_before(logits: Tensor, boxes: Tensor) -> Tensor:
    """Whether each of [batch, n] is the same thing as a surer one; of equally sure ones as one before it."""
    one, other = boxes.unsqueeze(2), boxes.unsqueeze(1)
    low, high = torch.maximum(one[..., :2], other[..., :2]), torch.minimum(one[..., 2:], other[..., 2:])
    shared = (high - low).clamp(min=0).prod(3)
    areas = (boxes[..., 2:] - boxes[..., :2]).prod(2)
    same = shared > _SAME * (areas.unsqueeze(2) + areas.unsqueeze(1) - shared)
    mine, its = logits.unsqueeze(2), logits.unsqueeze(1)
    number = torch.arange(logits.shape[1], device=logits.device)
    before = (its > mine) | ((its == mine) & (number.unsqueeze(0) < number.unsqueeze(1)))
    return (same & before).any(2)


def _peaks(heat: Tensor) -> Tensor:
    """Whether each of [batch, 1, height, width] is the highest of the nine around it; of equal ones the first is.

    In bf16 neighbours are equal often enough that without this a character would be found twice.
    """
    above = functional.pad(functional.max_pool2d(heat, (1, 3), 1, (0, 1)), (0, 0, 1, 0), value=_NEVER)[:, :, :-1]
    left = functional.pad(heat, (1, 0), value=_NEVER)[:, :, :, :-1]
    return (heat >= functional.max_pool2d(heat, 3, 1, 1)) & (heat > above) & (heat > left)


def _at(maps: Tensor, index: Tensor) -> Tensor:
    """[batch, channels, height, width] at the places [batch, k] -> float32 [batch, k, channels]."""
    flat = maps.flatten(2)
    return flat.gather(2, index.unsqueeze(1).expand(-1, flat.shape[1], -1)).transpose(1, 2).float()


def _enlarged(values: Tensor) -> Tensor:
    return functional.interpolate(values, scale_factor=2.0, mode="nearest")
