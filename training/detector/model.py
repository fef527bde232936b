"""The license plate detector: boxes and classes of boards, groups and characters, without anchors.

A residual network of 3 × 3 convolutions and a feature pyramid give, for each kind of object, a heat map whose peaks are
the centres of objects, with offset, size and class maps (after CenterNet: Zhou, Wang, Krähenbühl, "Objects as Points",
2019, which has a heat map for each class). The kinds have maps of their own, since the centres of a board, a group and
a character may coincide.

Most of the work of such a network is done where its maps are finest. Here the last layer of each head makes four
positions out of one (sub-pixel convolution: Shi et al., 2016): characters are found at stride 2 from features at stride
4, boards and groups at stride 4 from features at stride 8. Neighbouring characters of a plate of 64 pixels are 7 pixels
apart, which are three positions at stride 2 and less than two at stride 4: too near to be two peaks.

Objects that are too large for these maps are found by the same network, with the same weights, in the picture at half
and at a quarter of its size (an image pyramid): what it has learnt of plates of 70 to 180 pixels then holds for those
of 280 to 720. Each level keeps objects of its sizes; non-maximum suppression (NMS) removes duplicates.

The maps do not classify characters: the character reader classifies each in a crop of the picture, and the text reader
reads each board as a whole (readers.py).

Decoding is part of the network and has fixed shapes: any plan may cut through it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from shardline.storage.bundle import IMAGENET_MEAN, IMAGENET_STD
from shardline.tasks.plates.grammar import PlateGrammar, built_in
from shardline.training.detector.layers import ConvUnit, residual_layer
from shardline.training.detector.readers import CharacterReader, TextReader

OUTPUTS = (
    "board_boxes",  # float32 [batch, 16, 4]: left, top, right, bottom in pixels of the input, not cut to it
    "board_scores",  # [batch, 16, 2]: of each class, 0 to 1; all 0 where there are no more peaks
    "board_turns",  # [batch, 16, 2]: cosine and sine of the plate's orientation, clockwise, y down
    "group_boxes",  # [batch, 32, 4]
    "group_scores",  # [batch, 32, 4]
    "character_boxes",  # [batch, 128, 4]
    "character_scores",  # [batch, 128, 15]
    "board_texts",  # [batch, 16, 7, 16]: probabilities of 0-9, a-e and nothing for each position of a board's text
)
LEVELS = 3  # of the image pyramid: full, half and quarter size
LEAST_SIDE = 32 << LEVELS - 1  # height and width of the input are multiples of it: the stride at the last level
STRIDES = (4, 4, 2)  # of the maps of boards, groups and characters: pixels from position to position
# least and largest longer side of the objects that a level keeps, in its own pixels, for each kind; see `decode`
SIZES = ((70.0, 180.0), (0.0, 180.0), (14.0, 40.0))

_MOST_BOARDS, _MOST_GROUPS, _MOST_CHARACTERS = 16, 32, 128
_STEM, _WIDTHS, _DEPTHS = 24, (48, 96, 160, 224), (2, 2, 2, 2)  # channels at stride 2, then 4 to 32; their blocks
_PYRAMID = (48, 64, 64, 64)  # channels at strides 4 to 32
_HEAD = 64
_PRIOR = (
    0.01  # initial score of a position, as in RetinaNet (Lin et al., 2017): else negatives dominate the first losses
)
_LARGEST_LOG = 7.0  # of a size in strides: a factor of 1096, more than in any picture
_LEAST_LENGTH = 1e-3  # of an orientation's vector before it is normalised
_NEVER = -1e4  # logit of a position without a peak: a score of 0 in any precision, and finite
_SAME_IOU = 0.6  # two boxes of a kind with a higher IoU are duplicates


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadMaps:
    """The output of a head for one kind at every position, before it is decoded."""

    heat: Tensor  # [batch, 1, height, width]: logits; a peak is an object's centre
    classes: Tensor | None = None  # [batch, classes, height, width]: logits; characters have none
    shape: Tensor  # [batch, 4, height, width]: offset of the centre in the position (x, y), log of width and height
    orientation: Tensor | None = None  # [batch, 2, height, width]: cosine and sine, of any length; of boards
    stride: int  # pixels from position to position


class DetectionHead(nn.Module):
    """The maps of one kind, at twice the resolution of the features that they are made of."""

    def __init__(self, before: int, classes: int, stride: int, *, oriented: bool, normed: bool) -> None:
        super().__init__()
        self.stride = stride
        self.sizes = [1, classes, 4] + [2] * oriented
        self.features = ConvUnit(before, _HEAD, normed=normed)
        self.places = nn.Conv2d(_HEAD, 4 * sum(self.sizes), 1)
        nn.init.normal_(self.places.weight, std=0.01)
        first = torch.zeros(sum(self.sizes))
        first[0] = -math.log((1 - _PRIOR) / _PRIOR)
        first[classes + 1 : classes + 3] = 0.5
        first[classes + 3 : classes + 5] = 1.0
        self.places.bias = nn.Parameter(first.repeat_interleave(4))

    def forward(self, values: Tensor) -> HeadMaps:
        """Features float [batch, before, height, width] -> maps of [batch, channels, 2 * height, 2 * width]."""
        fine = functional.pixel_shuffle(self.places(self.features(values)), 2)
        heat, classes, shape, *orientation = torch.split(fine, self.sizes, dim=1)
        return HeadMaps(
            heat=heat,
            classes=classes if classes.shape[1] else None,
            shape=shape,
            orientation=orientation[0] if orientation else None,
            stride=self.stride,
        )


class FeaturePyramid(nn.Module):
    """Feature pyramid: features at strides 4 and 8 with the context of those at 8, 16 and 32 (Lin et al., 2016)."""

    def __init__(self, *, normed: bool) -> None:
        super().__init__()
        pairs = list(zip(_WIDTHS, _PYRAMID, strict=True))
        self.across = nn.ModuleList(nn.Conv2d(width, after, 1) for width, after in pairs)
        self.down = nn.Conv2d(_PYRAMID[1], _PYRAMID[0], 1)  # before the resolution is doubled: a quarter of the work
        self.join = nn.ModuleList(ConvUnit(after, after, normed=normed) for after in _PYRAMID[:3])

    def forward(self, levels: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Features float [batch, channels, height, width] at strides 4 to 32 -> those at strides 4 and 8."""
        far = self.across[3](levels[3])
        middle = self.join[2](self.across[2](levels[2]) + _doubled(far))
        near = self.join[1](self.across[1](levels[1]) + _doubled(middle))
        finest = self.join[0](self.across[0](levels[0]) + _doubled(self.down(near)))
        return finest, near


class PlateDetector(nn.Module):
    """The license plate detector; without arguments it is the network that ships and is served.

    The numbers of its classes follow from the `grammar` of the plates; None: the built-in one.
    `normed` adds batch normalisation behind each convolution, to train with; `fold_normalisation` removes it.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, *, normed: bool = False, grammar: PlateGrammar | None = None) -> None:
        super().__init__()
        self.normed = normed
        self.grammar = grammar = grammar or built_in()
        for name, values in (("mean", IMAGENET_MEAN), ("std", IMAGENET_STD)):
            self.register_buffer(name, torch.tensor(values).view(1, 3, 1, 1), persistent=False)
        self.stem = ConvUnit(3, _STEM, 2, normed=normed)
        befores = (_STEM, *_WIDTHS[:-1])
        self.layers = nn.ModuleList(
            residual_layer(before, width, depth, normed=normed)
            for before, width, depth in zip(befores, _WIDTHS, _DEPTHS, strict=True)
        )
        self.pyramid = FeaturePyramid(normed=normed)
        self.boards = DetectionHead(_PYRAMID[1], len(grammar.boards), STRIDES[0], oriented=True, normed=normed)
        self.groups = DetectionHead(_PYRAMID[1], len(grammar.group_classes), STRIDES[1], oriented=False, normed=normed)
        self.characters = DetectionHead(_PYRAMID[0], 0, STRIDES[2], oriented=False, normed=normed)
        self.reader = CharacterReader(len(grammar.characters), normed=normed)
        self.text_reader = TextReader(len(grammar.characters), len(grammar.alphabets), normed=normed)

    def maps(self, pictures: Tensor) -> tuple[HeadMaps, HeadMaps, HeadMaps]:
        """The maps of boards, groups and characters at one level; pictures float [batch, 3, height, width]."""
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
        """All outputs that are trained: the maps, and the logits of both readers.

        Args:
            pictures: normalised float [batch, 3, height, width].
            characters: normalised crops float [m, 3, 32, 32]; their logits are [m, 15].
            plates: normalised crops float [k, 3, 64, 128]; their logits are [k, 7, 16].
        """
        return self.maps(pictures), self.reader.logits(characters), self.text_reader.logits(plates)

    def pixels(self, pictures: Tensor) -> Tensor:
        """Undo normalisation: float [batch, 3, height, width] -> uint8 of the same shape."""
        return ((pictures.float() * self.std.float() + self.mean.float()) * 255).round().clamp(0, 255).to(torch.uint8)

    def levels(self, pictures: Tensor) -> list[tuple[HeadMaps, ...]]:
        """The maps of each kind at full, half and quarter size: normalised float [batch, 3, height, width] pictures.

        Raises:
            ValueError: height or width is no multiple of 128.
        """
        if pictures.shape[2] % LEAST_SIDE or pictures.shape[3] % LEAST_SIDE:
            size = f"{pictures.shape[3]} x {pictures.shape[2]}"
            raise ValueError(f"pictures of {size}: take a multiple of {LEAST_SIDE} for both, e.g. 512")
        smaller = [functional.avg_pool2d(pictures, 2**level) for level in range(1, LEVELS)]
        last = [self.maps(halved) for halved in reversed(smaller)]  # first, since little of them has to cross a cut
        return list(zip(self.maps(pictures), *reversed(last), strict=True))

    def forward(self, pictures: Tensor) -> tuple[Tensor, ...]:
        """Normalised float32 [batch, 3, height, width], multiples of 128 -> detections by score, see OUTPUTS."""
        pixels = self.pixels(pictures)  # uint8 for the readers: a quarter of the bytes that cross a cut
        boards, groups, characters = self.levels(pictures)
        board_boxes, board_scores, board_turns = decode(boards, _MOST_BOARDS, SIZES[0])
        boxes, scores = decode(characters, _MOST_CHARACTERS, SIZES[2])
        return (
            board_boxes,
            board_scores,
            board_turns,
            *decode(groups, _MOST_GROUPS, SIZES[1]),
            boxes,
            scores * self.reader(pixels, boxes).softmax(2),
            self.text_reader(pixels, board_boxes, board_turns).softmax(3),
        )


def decode(levels: Sequence[HeadMaps], most: int, sizes: tuple[float, float] = (0.0, math.inf)) -> tuple[Tensor, ...]:
    """Decode the `most` highest peaks: boxes [batch, most, 4], scores [batch, most, classes], orientations if any.

    A class's score is the peak's score times the class's probability; without classes there is one. Computed in fp32
    whatever the network's precision is: near 512, bf16 has steps of 2 or 4 pixels.

    Args:
        levels: maps at full size, half size, and so on.
        sizes: least and largest longer side of a box, in pixels of its level; the first level also keeps smaller
            boxes, and the last larger ones.
    """
    ends = len(levels) - 1
    found = [
        _level_peaks(maps, most, 2**level, sizes[0] if level else 0.0, sizes[1] if level < ends else math.inf)
        for level, maps in enumerate(levels)
    ]
    logits, *values = (torch.cat(of_levels, dim=1) for of_levels in zip(*found, strict=True))
    kept, index = logits.masked_fill(_is_duplicate(logits, values[0]), _NEVER).topk(most)
    boxes, shares, *rest = (value.gather(1, index.unsqueeze(2).expand(-1, -1, value.shape[2])) for value in values)
    return boxes, kept.sigmoid().unsqueeze(2) * shares, *rest


def _level_peaks(maps: HeadMaps, most: int, shrunk: int, least_px: float, most_px: float) -> tuple[Tensor, ...]:
    """The highest peaks of one level: logits [batch, most], boxes, probabilities of classes, orientations if any.

    A box whose size is out of range gets the logit of no peak.
    """
    heat = maps.heat.masked_fill(~_peaks(maps.heat), _NEVER).flatten(1)
    logits, index = heat.topk(min(most, heat.shape[1]))
    shares = torch.ones_like(logits).unsqueeze(2) if maps.classes is None else _at(maps.classes, index).softmax(2)
    shape, width = _at(maps.shape, index), maps.heat.shape[3]
    positions = torch.stack((index % width, torch.div(index, width, rounding_mode="floor")), dim=2)
    centres = positions + shape[:, :, :2]
    sizes = shape[:, :, 2:].clamp(max=_LARGEST_LOG).exp()
    boxes = torch.cat((centres - sizes / 2, centres + sizes / 2), dim=2) * (maps.stride * shrunk)
    longer = sizes.amax(2) * maps.stride
    logits = logits.float().masked_fill((longer < least_px) | (longer > most_px), _NEVER)
    if maps.orientation is None:
        return logits, boxes, shares
    vector = _at(maps.orientation, index)
    return logits, boxes, shares, vector / vector.square().sum(2, keepdim=True).sqrt().clamp(min=_LEAST_LENGTH)


def _is_duplicate(logits: Tensor, boxes: Tensor) -> Tensor:
    """Non-maximum suppression: whether each box duplicates one with a higher logit, bool [batch, n].

    Of equal logits the first is kept.
    """
    one, other = boxes.unsqueeze(2), boxes.unsqueeze(1)
    low, high = torch.maximum(one[..., :2], other[..., :2]), torch.minimum(one[..., 2:], other[..., 2:])
    shared = (high - low).clamp(min=0).prod(3)
    areas = (boxes[..., 2:] - boxes[..., :2]).prod(2)
    same = shared > _SAME_IOU * (areas.unsqueeze(2) + areas.unsqueeze(1) - shared)
    mine, its = logits.unsqueeze(2), logits.unsqueeze(1)
    number = torch.arange(logits.shape[1], device=logits.device)
    before = (its > mine) | ((its == mine) & (number.unsqueeze(0) < number.unsqueeze(1)))
    return (same & before).any(2)


def _peaks(heat: Tensor) -> Tensor:
    """Peaks, bool [batch, 1, height, width]: the highest of the nine positions around; of equal ones only the first.

    In bf16 neighbours are often equal, and a character would be found twice.
    """
    above = functional.pad(functional.max_pool2d(heat, (1, 3), 1, (0, 1)), (0, 0, 1, 0), value=_NEVER)[:, :, :-1]
    left = functional.pad(heat, (1, 0), value=_NEVER)[:, :, :, :-1]
    return (heat >= functional.max_pool2d(heat, 3, 1, 1)) & (heat > above) & (heat > left)


def _at(maps: Tensor, index: Tensor) -> Tensor:
    """Values of maps [batch, channels, height, width] at the indexes [batch, k] -> float32 [batch, k, channels]."""
    flat = maps.flatten(2)
    return flat.gather(2, index.unsqueeze(1).expand(-1, flat.shape[1], -1)).transpose(1, 2).float()


def _doubled(values: Tensor) -> Tensor:
    return functional.interpolate(values, scale_factor=2.0, mode="nearest")
