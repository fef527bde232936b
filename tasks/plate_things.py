"""What a detector of plates found in one picture: things of a kind, without the same one twice.

Places are in pixels of the network's input, y down, boxes (left, top, right, bottom) with upright sides. A plate has
a direction: the way its text runs, turned clockwise.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_SAME_IOU = 0.5  # two boxes that share more than this are of one thing …
_SAME_PLACE = 0.25  # … and two whose centres are nearer than this, in sides of a square of their mean area …
_SAME_SIZE = 0.6  # … where the smaller has this share of the other's area: a row is no board
_LEAST_PX = 1e-3  # of a rectangle's sides: a box of nothing is divided by, too
# A box says little of width and height near 45°, where all rectangles of one half circumference have the same:
# so much, squared, the usual proportions count there. At no turn they count nothing.
_PRIOR = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Things:
    """n things of one kind, the surest first: `boxes` [n, 4], `scores` [n, classes] from 0 to 1."""

    boxes: Floats
    scores: Floats

    def __len__(self) -> int:
        return len(self.boxes)

    @property
    def best(self) -> Floats:
        """[n]: the score of the likeliest class."""
        scores: Floats = self.scores.max(axis=1)
        return scores

    @property
    def centres(self) -> Floats:
        """[n, 2]."""
        return (self.boxes[:, :2] + self.boxes[:, 2:]) / 2

    @property
    def sizes(self) -> Floats:
        """[n, 2]: width and height of the upright boxes."""
        return self.boxes[:, 2:] - self.boxes[:, :2]


def sure_things(boxes: Floats, scores: Floats, least_score: float) -> tuple[Things, NDArray[np.int64]]:
    """Those that reach the least score, each once, and their indexes in `boxes`, whatever order they come in."""
    best = scores.max(axis=1)
    # by place where scores are equal, so that the order in which they come decides nothing
    order = np.lexsort((boxes[:, 1], boxes[:, 0], -best))
    likely = order[best[order] >= least_score]
    kept = likely[_first_of_each(boxes[likely])]
    return Things(boxes=boxes[kept], scores=scores[kept]), kept


def _first_of_each(boxes: Floats) -> NDArray[np.int64]:
    """Indexes of boxes that are not the same thing as one before them that is kept."""
    same = _same(boxes)
    kept: list[int] = []
    for index in range(len(boxes)):
        if not same[index, kept].any():
            kept.append(index)
    return np.array(kept, np.int64)


def _same(boxes: Floats) -> NDArray[np.bool_]:
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    away = np.linalg.norm(centres[:, None] - centres[None], axis=2)
    alike = np.minimum(areas[:, None], areas[None]) >= _SAME_SIZE * np.maximum(areas[:, None], areas[None])
    near = alike & (away < _SAME_PLACE * np.sqrt((areas[:, None] + areas[None]) / 2))
    shared = shared_areas(boxes, boxes)
    same: NDArray[np.bool_] = near | (shared > _SAME_IOU * (areas[:, None] + areas[None] - shared))
    return same


def shared_areas(one: Floats, other: Floats) -> Floats:
    """Boxes [n, 4] and [m, 4] -> the areas that they share, [n, m]."""
    low = np.maximum(one[:, None, :2], other[None, :, :2])
    high = np.minimum(one[:, None, 2:], other[None, :, 2:])
    areas: Floats = np.prod(np.clip(high - low, 0, None), axis=2)
    return areas


@dataclass(frozen=True, slots=True, kw_only=True)
class Aspects:
    """Width / height of a rectangle: what is usual, and what is possible, seen from the side included."""

    least: float
    usual: float
    most: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """A rectangle with a direction: where a plate lies, as it is seen from the plate."""

    centre: Floats  # [2]
    along: Floats  # [2], of length 1: the way the text runs
    width: float  # along that direction
    height: float  # across it

    @property
    def across(self) -> Floats:
        """[2]: from the text's upper side to its lower one."""
        return np.array((-self.along[1], self.along[0]))

    def seen(self, places: Floats) -> Floats:
        """Places [n, 2] of the picture -> along and across the plate from its centre, [n, 2], in pixels."""
        return (places - self.centre) @ np.stack((self.along, self.across), axis=1)

    @property
    def corners(self) -> Floats:
        """[4, 2]: from the text's upper left on, clockwise."""
        halves = np.array(((-1, -1), (1, -1), (1, 1), (-1, 1))) * (self.width / 2, self.height / 2)
        corners: Floats = self.centre + halves @ np.stack((self.along, self.across))
        return corners


def direction(turn: Floats) -> Floats:
    """(cosine, sine) of any length -> of length 1; (0, 0) says nothing and counts as upright."""
    length = float(np.hypot(*turn))
    return turn / length if length > 0 else np.array((1.0, 0.0))


def frame_of(box: Floats, along: Floats, aspects: Aspects) -> Frame:
    """The rectangle with this direction in an upright box [4].

    The box is `width * cos + height * sin` wide and `width * sin + height * cos` high, which tells both, but for 45°:
    the nearer to it, the more the usual aspect helps. What is seen from the side is no rectangle, and its box may then
    tell an impossible aspect: the nearest possible one is taken instead.
    """
    left, top, right, bottom = box.tolist()
    cos, sin = abs(float(along[0])), abs(float(along[1]))
    width, height = _solved((right - left, bottom - top), cos, sin, aspects.usual)
    aspect = width / height if height > 0 else aspects.most
    if width <= 0 or not aspects.least <= aspect <= aspects.most:
        aspect = aspects.least if width <= 0 else min(max(aspect, aspects.least), aspects.most)
        height = (right - left + bottom - top) / ((cos + sin) * (1 + aspect))
        width = aspect * height
    return Frame(
        centre=np.array(((left + right) / 2, (top + bottom) / 2)),
        along=along,
        width=max(width, _LEAST_PX),
        height=max(height, _LEAST_PX),
    )


def _solved(size: tuple[float, float], cos: float, sin: float, aspect: float) -> tuple[float, float]:
    """Least squares of both equations and, lightly, of `width = aspect * height`."""
    weight = _PRIOR * (2 * cos * sin) ** 2 / (1 + aspect**2)
    both = 2 * cos * sin - weight * aspect
    for_width, for_height = 1 + weight, 1 + weight * aspect**2
    wide, high = size[0] * cos + size[1] * sin, size[0] * sin + size[1] * cos
    scale = for_width * for_height - both**2
    return (for_height * wide - both * high) / scale, (for_width * high - both * wide) / scale
