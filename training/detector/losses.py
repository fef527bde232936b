"""Training targets and losses of the detector.

Heat is 1 at the position of an object's centre, and at the next position where the centre lies near the border between
the two: neither could be preferred there, and of two half-hearted peaks none would be kept. Around the centre, heat
falls off as a Gaussian, as far as a box with its centre there would still have an IoU of 0.7 with the object's own
(CornerNet: Law and Deng, 2018). Objects that are not recognisable are ignored: within their boxes nothing is penalised.

The heat's loss is CornerNet's focal loss as in CenterNet (Zhou, Wang and Krähenbühl, 2019), over the number of objects:
positions that are right count little, and positions near a centre less than others. The class's loss is cross-entropy,
of boards and groups at the centres, of characters in the character reader. The loss of offset, size and orientation is
the mean absolute difference at the centres; of sizes that of logarithms, so that a small box may be off by few pixels
and a large one by many. Offset and size count a fifth: boxes are learnt long before characters are recognised, and
their gradient would hide the others'.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from shardline.training.detector.model import HeadMaps
from shardline.training.detector.objects import IGNORED, Column

_NAMES = ("boards", "groups", "characters")
_SHAPE_WEIGHT = 0.2  # of the loss of offset and size
_IOU = 0.7
_NEAR = 0.75  # distance to a position's middle, in each direction, up to which heat is 1
_WIDEST = 24  # largest reach of the heat in positions
_LARGEST = (276, 276, 74)  # longer side in pixels of each kind: half as much again as a level keeps, or more
_AROUND = 1  # positions around a centre that also learn class, shape and orientation: a peak may lie beside it


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectionTarget:
    """The target of one kind for a batch; the last four have a row for each position that belongs to an object."""

    heat: Tensor  # float32 [batch, 1, height, width], 0 to 1; 1 at centres
    ignored: Tensor  # bool [batch, 1, height, width]
    positions: Tensor  # int64 [m, 3]: picture, y, x
    classes: Tensor  # int64 [m]
    shape: Tensor  # float32 [m, 4]: offset of the centre from the position (x, y), log of width and height in positions
    orientation: Tensor  # float32 [m, 2]: cosine and sine

    def to(self, device: torch.device) -> "DetectionTarget":
        """A copy on a device."""
        return DetectionTarget(**{field.name: getattr(self, field.name).to(device) for field in fields(self)})


def make_target(kind: int, objects: Sequence[NDArray[np.float32]], side: int, stride: int) -> DetectionTarget:
    """The target of `kind` (0 to 2) for pictures of side × side pixels.

    Objects that are too large for the maps are left out: they are found at a smaller scale.

    Args:
        objects: of each picture, float32 [n, 11], see `Column`.
        stride: of the maps: pixels from position to position.
    """
    positions = side // stride
    heat = torch.zeros(len(objects), 1, positions, positions)
    ignored = torch.zeros(len(objects), 1, positions, positions, dtype=torch.bool)
    picture = np.repeat(np.arange(len(objects)), [len(rows) for rows in objects])
    rows = np.concatenate(objects)
    inside = ((rows[:, [Column.X, Column.Y]] >= 0) & (rows[:, [Column.X, Column.Y]] < side)).all(1)
    longer = rows[:, [Column.WIDTH, Column.HEIGHT]].max(1, initial=0)
    of_kind = rows[:, Column.KIND] == kind
    known = (rows[:, Column.KNOWN] > 0) & inside
    for index in np.flatnonzero(of_kind & ~known):
        _ignore(ignored[picture[index], 0], rows[index], stride)
    learnt = of_kind & known & (longer <= _LARGEST[kind])
    pictures, values = torch.from_numpy(picture[learnt]), torch.from_numpy(rows[learnt])
    centres = values[:, [Column.X, Column.Y]] / stride
    sizes = values[:, [Column.WIDTH, Column.HEIGHT]].clamp(min=1e-3) / stride
    _add_heat(heat, pictures, centres, heat_radius(sizes))
    return DetectionTarget(heat=heat, ignored=ignored, **_near_centres(pictures, centres, sizes, values, positions))


def heat_radius(sizes: Tensor) -> Tensor:
    """The distance that a box's corners may move with an IoU of at least 0.7: sizes float [n, 2] -> float [n].

    The least of three cases: one corner moves in and the other out, both move in, both move out.
    """
    total, area = sizes.sum(1), sizes.prod(1)
    shifted = _root(torch.ones_like(area), total, area * (1 - _IOU) / (1 + _IOU))
    inner = _root(torch.full_like(area, 4.0), 2 * total, area * (1 - _IOU))
    outer = (-2 * _IOU * total + (4 * (_IOU * total) ** 2 + 16 * _IOU * (1 - _IOU) * area).sqrt()) / (8 * _IOU)
    return torch.stack((shifted, inner, outer)).amin(0)


def detection_losses(maps: Sequence[HeadMaps], targets: Sequence[DetectionTarget]) -> dict[str, Tensor]:
    """Detector losses: one float32 scalar for each head and term; their sum is minimised."""
    losses = {}
    for name, found, target in zip(_NAMES, maps, targets, strict=True):
        losses[f"{name}_heat"] = focal_loss(found.heat.float(), target.heat, target.ignored)
        if found.classes is not None:
            losses[f"{name}_class"] = _class_loss(found.classes, target)
        losses[f"{name}_shape"] = _SHAPE_WEIGHT * _difference(found.shape, target, target.shape)
        if found.orientation is not None:
            losses["orientation"] = _difference(found.orientation, target, target.orientation)
    return losses


def focal_loss(logits: Tensor, heat: Tensor, ignored: Tensor) -> Tensor:
    """The focal loss over the number of centres, a scalar.

    Args:
        logits: float32 [batch, 1, height, width].
        heat: the target, of the same shape.
        ignored: bool, of the same shape.
    """
    centres = logits[heat == 1]
    missed = functional.softplus(-centres) * centres.sigmoid().sub(1).square()
    far = (1 - heat).square().square().masked_fill(ignored, 0.0)  # the paper's beta is 4; at centres this is 0
    false = functional.softplus(logits) * logits.sigmoid().square() * far
    return (missed.sum() + false.sum()) / max(1, len(centres))


def reading_loss(logits: Tensor, classes: Tensor) -> Tensor:
    """The mean cross-entropy of a reader: logits float32 [m, classes], true classes int64 [m] -> scalar.

    Rows whose class is `IGNORED` do not count.
    """
    return functional.cross_entropy(logits, classes, ignore_index=IGNORED)


def _root(a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """The lesser root of a x² - b x + c."""
    return (b - (b * b - 4 * a * c).clamp(min=0).sqrt()) / (2 * a)


def _ignore(ignored: Tensor, row: NDArray[np.float32], stride: int) -> None:
    """Mark the positions in an object's box, bool [height, width]."""
    x, y, width, height = (float(row[column]) / stride for column in (Column.X, Column.Y, Column.WIDTH, Column.HEIGHT))
    left, top = max(0, math.floor(x - width / 2)), max(0, math.floor(y - height / 2))
    ignored[top : max(0, math.ceil(y + height / 2)), left : max(0, math.ceil(x + width / 2))] = True


def _add_heat(heat: Tensor, pictures: Tensor, centres: Tensor, radii: Tensor) -> None:
    """Draw a Gaussian around each centre, [n, 2] in positions; where several overlap, the highest counts."""
    if not len(pictures):
        return
    reaches = radii.floor().clamp(0, _WIDEST)
    corners = centres.floor().long()
    reach = max(1, int(reaches.max()))
    steps = torch.arange(-reach, reach + 1)
    dy, dx = steps.repeat_interleave(len(steps)), steps.repeat(len(steps))  # a window around each centre, flattened
    sigmas = (2 * reaches + 1) / 6
    x, y = corners[:, :1] + dx, corners[:, 1:] + dy  # [n, window]
    away_x, away_y = (
        (at + 0.5 - centre).abs().sub(_NEAR).clamp(min=0) for at, centre in ((x, centres[:, :1]), (y, centres[:, 1:]))
    )
    values = torch.exp(-(away_x.square() + away_y.square()) / (2 * sigmas * sigmas).unsqueeze(1))
    height, width = heat.shape[2:]
    reached = torch.maximum(dx.abs(), dy.abs()) <= reaches.clamp(min=1).unsqueeze(1)
    within = reached & (x >= 0) & (x < width) & (y >= 0) & (y < height)
    at = (pictures.unsqueeze(1) * height + y) * width + x  # indexes into the flattened heat
    heat.view(-1).scatter_reduce_(0, at[within], values[within], "amax")


def _near_centres(
    pictures: Tensor, centres: Tensor, sizes: Tensor, values: Tensor, positions: int
) -> dict[str, Tensor]:
    """The positions of all centres and the eight around each, as far as they are in the picture, with their targets.

    A position near several centres belongs to the nearest.
    """
    steps = torch.arange(-_AROUND, _AROUND + 1)
    around = torch.cartesian_prod(steps, steps)  # [9, 2]: x, y
    count = len(around)
    at = (centres.floor().long().unsqueeze(1) + around).reshape(-1, 2)  # [n * 9, 2]
    within = ((at >= 0) & (at < positions)).all(1)
    offsets = centres.repeat_interleave(count, 0) - at
    distances = (offsets - 0.5).square().sum(1)
    keys = (pictures.repeat_interleave(count) * positions + at[:, 1]) * positions + at[:, 0]
    kept = _nearest(keys, distances, within)
    shape = torch.cat((offsets, sizes.log().repeat_interleave(count, 0)), dim=1)
    return {
        "positions": torch.cat((pictures.repeat_interleave(count).unsqueeze(1), at.flip(1)), dim=1)[kept],
        "classes": values[:, Column.CLASS].long().repeat_interleave(count)[kept],
        "shape": shape[kept],
        "orientation": values[:, [Column.COSINE, Column.SINE]].repeat_interleave(count, 0)[kept],
    }


def _nearest(keys: Tensor, distances: Tensor, within: Tensor) -> Tensor:
    """The indexes of the rows within the picture that have the least distance among those with the same key."""
    rows = within.nonzero().squeeze(1)
    rows = rows[distances[rows].argsort(stable=True)]
    rows = rows[keys[rows].argsort(stable=True)]
    first = torch.ones(len(rows), dtype=torch.bool)
    first[1:] = keys[rows][1:] != keys[rows][:-1]
    return rows[first]


def _class_loss(logits: Tensor, target: DetectionTarget) -> Tensor:
    """The mean cross-entropy at the target's positions: logits [batch, classes, height, width] -> scalar."""
    picture, y, x = target.positions.unbind(1)
    losses = functional.cross_entropy(logits[picture, :, y, x].float(), target.classes, reduction="sum")
    return losses / max(1, len(target.classes))


def _difference(maps: Tensor, target: DetectionTarget, values: Tensor) -> Tensor:
    """The mean absolute difference at the target's positions: [batch, k, height, width], [m, k] -> scalar."""
    picture, y, x = target.positions.unbind(1)
    differences = (maps[picture, :, y, x].float() - values).abs().sum(1)
    return differences.sum() / max(1, len(values))
