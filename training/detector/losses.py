"""Targets and detection_losses of the detector."""

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

_OVERLAP = 0.7
_NEAR = 0.75  # places from a place's middle within which a centre is as good as its own, to either side
_WIDEST = 24  # places from the centre to which heat reaches at most
_LARGEST = (276, 276, 74)  # of each kind, longer side in pixels: half as much again as what a level keeps, or more
_AROUND = 1  # places about a centre that are asked what is there as well: a peak may come to lie beside it

_NAMES = ("boards", "groups", "characters")
_SHAPE = 0.2  # weight of offset and size


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectionTarget:
    """Of one kind, for a batch. The last four hold a row for each place that is asked for its thing."""

    heat: Tensor  # [batch, 1, height, width], 0 to 1; 1 at centres
    open: Tensor  # [batch, 1, height, width], bool
    places: Tensor  # [m, 3], int64: picture, y, x
    classes: Tensor  # [m], int64
    shape: Tensor  # [m, 4]: offset of the centre from the place (x, y), log of width and height in places
    turn: Tensor  # [m, 2]: cosine and sine

    def to(self, device: torch.device) -> "DetectionTarget":
        return DetectionTarget(**{each.name: getattr(self, each.name).to(device) for each in fields(self)})


def make_target(kind: int, things: Sequence[NDArray[np.float32]], side: int, stride: int) -> DetectionTarget:
    """The target of `kind` (0 to 2) for pictures of side × side pixels, each with its `Sample.things`.

    What is too large for the maps is nothing there: it is found in a smaller picture.
    """
    places = side // stride
    heat = torch.zeros(len(things), 1, places, places)
    left_open = torch.zeros(len(things), 1, places, places, dtype=torch.bool)
    picture = np.repeat(np.arange(len(things)), [len(each) for each in things])
    rows = np.concatenate(things)
    inside = ((rows[:, [Column.X, Column.Y]] >= 0) & (rows[:, [Column.X, Column.Y]] < side)).all(1)
    longer = rows[:, [Column.WIDTH, Column.HEIGHT]].max(1, initial=0)
    of_kind = rows[:, Column.KIND] == kind
    told = (rows[:, Column.KNOWN] > 0) & inside
    for at in np.flatnonzero(of_kind & ~told):
        _leave_open(left_open[picture[at], 0], rows[at], stride)
    asked = of_kind & told & (longer <= _LARGEST[kind])
    pictures, values = torch.from_numpy(picture[asked]), torch.from_numpy(rows[asked])
    centres = values[:, [Column.X, Column.Y]] / stride
    sizes = values[:, [Column.WIDTH, Column.HEIGHT]].clamp(min=1e-3) / stride
    _add_heat(heat, pictures, centres, heat_radius(sizes))
    return DetectionTarget(
        heat=heat,
        open=left_open,
        **_asked(pictures, centres, sizes, values, places),
    )


def heat_radius(sizes: Tensor) -> Tensor:
    """How far, [n], a box's two corners may move so that it still overlaps a box of `sizes` [n, 2] by 0.7.

    The least of three cases: one corner moves in and the other out, both move in, both move out.
    """
    total, area = sizes.sum(1), sizes.prod(1)
    shifted = _root(torch.ones_like(area), total, area * (1 - _OVERLAP) / (1 + _OVERLAP))
    inner = _root(torch.full_like(area, 4.0), 2 * total, area * (1 - _OVERLAP))
    outer = (-2 * _OVERLAP * total + (4 * (_OVERLAP * total) ** 2 + 16 * _OVERLAP * (1 - _OVERLAP) * area).sqrt()) / (
        8 * _OVERLAP
    )
    return torch.stack((shifted, inner, outer)).amin(0)


def _root(a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """The lesser root of a x² - b x + c."""
    return (b - (b * b - 4 * a * c).clamp(min=0).sqrt()) / (2 * a)


def _leave_open(places: Tensor, row: NDArray[np.float32], stride: int) -> None:
    """Mark the places of a thing's box, [height, width]."""
    x, y, width, height = (float(row[each]) / stride for each in (Column.X, Column.Y, Column.WIDTH, Column.HEIGHT))
    left, top = max(0, math.floor(x - width / 2)), max(0, math.floor(y - height / 2))
    places[top : max(0, math.ceil(y + height / 2)), left : max(0, math.ceil(x + width / 2))] = True


def _add_heat(heat: Tensor, pictures: Tensor, centres: Tensor, radii: Tensor) -> None:
    """Lay a Gaussian over each centre, [n, 2] in places; where several meet, the highest holds."""
    if not len(pictures):
        return
    reaches = radii.floor().clamp(0, _WIDEST)
    corners = centres.floor().long()
    reach = max(1, int(reaches.max()))
    steps = torch.arange(-reach, reach + 1)
    dy, dx = steps.repeat_interleave(len(steps)), steps.repeat(len(steps))
    sigmas = (2 * reaches + 1) / 6
    x, y = corners[:, :1] + dx, corners[:, 1:] + dy
    away_x, away_y = (
        (at + 0.5 - centre).abs().sub(_NEAR).clamp(min=0) for at, centre in ((x, centres[:, :1]), (y, centres[:, 1:]))
    )
    values = torch.exp(-(away_x.square() + away_y.square()) / (2 * sigmas * sigmas).unsqueeze(1))
    height, width = heat.shape[2:]
    within = (
        (torch.maximum(dx.abs(), dy.abs()) <= reaches.clamp(min=1).unsqueeze(1))
        & (x >= 0)
        & (x < width)
        & (y >= 0)
        & (y < height)
    )
    at = (pictures.unsqueeze(1) * height + y) * width + x
    heat.view(-1).scatter_reduce_(0, at[within], values[within], "amax")


def _asked(pictures: Tensor, centres: Tensor, sizes: Tensor, values: Tensor, places: int) -> dict[str, Tensor]:
    """Each centre's place and the eight around it, as far as they are in the picture; each place for its nearest."""
    steps = torch.arange(-_AROUND, _AROUND + 1)
    around = torch.cartesian_prod(steps, steps)  # x, y
    count = len(around)
    at = (centres.floor().long().unsqueeze(1) + around).reshape(-1, 2)
    within = ((at >= 0) & (at < places)).all(1)
    offsets = centres.repeat_interleave(count, 0) - at
    distances = (offsets - 0.5).square().sum(1)
    keys = (pictures.repeat_interleave(count) * places + at[:, 1]) * places + at[:, 0]
    kept = _nearest(keys, distances, within)
    shape = torch.cat((offsets, sizes.log().repeat_interleave(count, 0)), dim=1)
    return {
        "places": torch.cat((pictures.repeat_interleave(count).unsqueeze(1), at.flip(1)), dim=1)[kept],
        "classes": values[:, Column.CLASS].long().repeat_interleave(count)[kept],
        "shape": shape[kept],
        "turn": values[:, [Column.COSINE, Column.SINE]].repeat_interleave(count, 0)[kept],
    }


def _nearest(keys: Tensor, distances: Tensor, within: Tensor) -> Tensor:
    """The rows, of those within, that have the least distance of all with their key."""
    rows = within.nonzero().squeeze(1)
    rows = rows[distances[rows].argsort(stable=True)]
    rows = rows[keys[rows].argsort(stable=True)]
    first = torch.ones(len(rows), dtype=torch.bool)
    first[1:] = keys[rows][1:] != keys[rows][:-1]
    return rows[first]


def detection_losses(maps: Sequence[HeadMaps], targets: Sequence[DetectionTarget]) -> dict[str, Tensor]:
    """Each part's loss, a number of float32; what is to be made small is their sum."""
    found = {}
    for name, said, wanted in zip(_NAMES, maps, targets, strict=True):
        found[f"{name}_heat"] = focal_loss(said.heat.float(), wanted.heat, wanted.open)
        if said.classes is not None:
            found[f"{name}_class"] = _unlikeness(said.classes, wanted)
        found[f"{name}_shape"] = _SHAPE * _difference(said.shape, wanted, wanted.shape)
        if said.turn is not None:
            found["turns"] = _difference(said.turn, wanted, wanted.turn)
    return found


def focal_loss(logits: Tensor, heat: Tensor, left_open: Tensor) -> Tensor:
    """The focal_loss loss of [batch, 1, height, width] over the number of centres; `left_open` places say nothing."""
    centres = logits[heat == 1]
    missed = functional.softplus(-centres) * centres.sigmoid().sub(1).square()
    far = (1 - heat).square().square().masked_fill(left_open, 0.0)  # the paper's beta is 4; at centres this is 0
    invented = functional.softplus(logits) * logits.sigmoid().square() * far
    return (missed.sum() + invented.sum()) / max(1, len(centres))


def reading_loss(logits: Tensor, classes: Tensor) -> Tensor:
    """The mean cross-entropy of a reader's logits, float32 [m, classes], for these classes, int64 [m].

    Where it is `IGNORED`, nothing counts.
    """
    return functional.cross_entropy(logits, classes, ignore_index=IGNORED)


def _unlikeness(said: Tensor, wanted: DetectionTarget) -> Tensor:
    picture, y, x = wanted.places.unbind(1)
    off = functional.cross_entropy(said[picture, :, y, x].float(), wanted.classes, reduction="sum")
    return off / max(1, len(wanted.classes))


def _difference(said: Tensor, wanted: DetectionTarget, values: Tensor) -> Tensor:
    picture, y, x = wanted.places.unbind(1)
    off = (said[picture, :, y, x].float() - values).abs().sum(1)
    return off.sum() / max(1, len(values))
