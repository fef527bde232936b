"""Outputs of the plate detector, and what they hold of one picture: boards, character groups and characters.

The outputs are, in this order (training/detector/model.py), already decoded:

    board_boxes [batch, n, 4], board_scores [batch, n, 2]   of each type of plates
    board_turns [batch, n, 2]                               cosine and sine of the text's direction
    group_boxes [batch, n, 4], group_scores [batch, n, 4]   of the groups of the first type, then of the next
    character_boxes [batch, n, 4], character_scores [batch, n, 15]   of each character
    board_texts [batch, n, 7, 16]    optional: of each character and of nothing at each position of the text

The numbers are those of the built-in grammar; for another one they follow from it (`PlateGrammar.classes`).

Boxes are (left, top, right, bottom) in pixels of the network's input, with y down and upright sides. Scores are from 0
to 1, and all 0 where there is nothing. A plate has a direction: the way its text runs, turned clockwise.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shardline.tasks.plates.grammar import AspectRatios, PlateGrammar, built_in, option_grammar
from shardline.tasks.request import Options, not_finite
from shardline.wire.boxes import intersections
from shardline.wire.errors import BundleError

Floats = NDArray[np.float64]

_KINDS = ((0, 1, 2, 7), (3, 4), (5, 6))  # outputs (boxes, scores, more) of boards, of groups, of characters
_COUNTED = (0, 0, 0, 3, 3, 5, 5, 0)  # for each output, the output that has the same n
_LEAST_BOARD, _LEAST_GROUP, _LEAST_CHARACTER = 0.1, 0.2, 0.1  # least scores, unless a lower threshold is asked for
# Two boxes are one object if their IoU is above _SAME_IOU, or if their centres are nearer than _SAME_CENTRE sides of a
# square of their mean area and the smaller has _SAME_SIZE of the other's area: a row of characters is no board.
_SAME_IOU = 0.5
_SAME_CENTRE = 0.25
_SAME_SIZE = 0.6
_LEAST_PX = 1e-3  # of a rectangle's sides, which are divided by
# Near 45° a box says little of width and height, since all rectangles of equal circumference have the same box there:
# the usual aspect ratio then counts with this weight, squared. For an upright plate it counts nothing.
_PRIOR = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Detections:
    """n detections of one kind, highest score first: `boxes` float64 [n, 4], `scores` float64 [n, classes]."""

    boxes: Floats
    scores: Floats

    def __len__(self) -> int:
        return len(self.boxes)

    @property
    def best(self) -> Floats:
        """Score of the likeliest class, float64 [n]."""
        scores: Floats = self.scores.max(axis=1)
        return scores

    @property
    def centres(self) -> Floats:
        """Centres (x, y) of the boxes, float64 [n, 2]."""
        return (self.boxes[:, :2] + self.boxes[:, 2:]) / 2

    @property
    def sizes(self) -> Floats:
        """Width and height of the upright boxes, float64 [n, 2]."""
        return self.boxes[:, 2:] - self.boxes[:, :2]


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureDetections:
    """All detections in one picture.

    Attributes:
        grammar: of the plates.
        boards: n boards; scores [n, types].
        directions: float64 [n, 2]: cosine and sine of each board's direction.
        groups: scores [groups, types * groups of a plate].
        characters: scores [characters, classes].
        texts: float64 [n, positions, classes + 1]: each character and nothing at each position of a board's text; None
            if the detector does not give it.
    """

    grammar: PlateGrammar
    boards: Detections
    directions: Floats
    groups: Detections
    characters: Detections
    texts: Floats | None


def detector_arrays(outputs: Mapping[str, NDArray[Any]], grammar: PlateGrammar | None = None) -> list[NDArray[Any]]:
    """The detector's seven or eight outputs in their order, float [batch, n, …].

    Args:
        outputs: of a model, by name.
        grammar: that the detector was trained for; None: the built-in one.

    Raises:
        BundleError: these are no outputs of a plate detector.
    """
    last = _last_dimensions(grammar or built_in())
    arrays = list(outputs.values())
    shapes = [array.shape for array in arrays if array.ndim >= 3 and array.dtype.kind == "f"]
    if len(shapes) == len(arrays) and len(last) - 1 <= len(arrays) <= len(last):
        counts = [shapes[counted][:2] for counted in _COUNTED]
        if shapes == [(*count, *sides) for count, sides in zip(counts, last, strict=False)][: len(shapes)]:
            return arrays
    found = ", ".join(f"{name} {array.dtype}{list(array.shape)}" for name, array in outputs.items())
    raise BundleError(
        f"the model's outputs are {found or 'none'}; plates needs the seven of a plate detector, float "
        f"[batch, n, {' | '.join(str(sides[0]) for sides in last[:-1])}], and takes an eighth, "
        f"[batch, n, {last[-1][0]}, {last[-1][1]}]: build with another task"
    )


def _last_dimensions(grammar: PlateGrammar) -> tuple[tuple[int, ...], ...]:
    """Each output is [batch, n, *these]; the last output is optional."""
    types, groups, characters = len(grammar.boards), len(grammar.group_classes), len(grammar.characters)
    texts = (len(grammar.alphabets), characters + 1)
    return (4,), (types,), (2,), (4,), (groups,), (4,), (characters,), texts


def picture_detections(
    outputs: Mapping[str, NDArray[Any]], instance: int, threshold: float, grammar: PlateGrammar | None = None
) -> PictureDetections:
    """Select the detections in one picture of a batch that are confident enough to build plates from.

    Args:
        outputs: the detector's, float [batch, n, …].
        instance: index of the picture in the batch.
        threshold: least score of the plates that are wanted; a low one selects less confident detections, too.
        grammar: that the detector was trained for; None: the built-in one.

    Raises:
        BundleError: as `detector_arrays`.
        ShardlineError: NaN or infinity among the outputs.
    """
    arrays = [array[instance].astype(np.float64) for array in detector_arrays(outputs, grammar)]
    if not all(np.isfinite(array).all() for array in arrays):
        raise not_finite(instance)
    board_boxes, board_scores, directions, group_boxes, group_scores, character_boxes, character_scores, *texts = arrays
    boards, kept = _select(board_boxes, board_scores, min(_LEAST_BOARD, threshold))
    groups, _ = _select(group_boxes, group_scores, min(_LEAST_GROUP, threshold))
    characters, _ = _select(character_boxes, character_scores, min(_LEAST_CHARACTER, threshold))
    return PictureDetections(
        grammar=grammar or built_in(),
        boards=boards,
        directions=directions[kept],
        groups=groups,
        characters=characters,
        texts=texts[0][kept] if texts else None,
    )


def comparable(outputs: Mapping[str, NDArray[Any]], options: Options) -> Mapping[str, NDArray[Any]]:
    """Sums over the detections of each kind, in which their order does not count.

    A detection weighs the square of its score above the least listed score: where two change places at the end of the
    list, both weigh nothing. So the sums change little where scores and boxes change little.

    Args:
        outputs: the detector's, float [batch, n, …].
        options: of the task, as the bundle has them.

    Returns:
        For boards, groups and characters: `…_sums`, float64 [batch, classes], of the weights, and `…_positions_…`,
        float64 [batch, classes, values], of boxes, directions and texts, weighted, over the sum of the kind's weights.
    """
    arrays = detector_arrays(outputs, option_grammar(options))
    result = {}
    for name, kind in zip(("boards", "groups", "characters"), _KINDS, strict=True):
        scores = arrays[kind[1]].astype(np.float64)
        least = scores.max(axis=2, keepdims=True).min(axis=1, keepdims=True)
        weights = np.square(np.maximum(scores - least, 0.0))  # [batch, n, classes]
        total = np.maximum(weights.sum(axis=(1, 2)), 1e-12)[:, None, None]
        result[f"{name}_sums"] = weights.sum(axis=1)
        for index in (index for index in kind if index != kind[1] and index < len(arrays)):
            values = arrays[index].astype(np.float64).reshape(*weights.shape[:2], -1)
            result[f"{name}_positions_{index}"] = np.einsum("bnc,bnd->bcd", weights, values) / total
    return result


def _select(boxes: Floats, scores: Floats, least_score: float) -> tuple[Detections, NDArray[np.int64]]:
    """Detections that reach the least score, without duplicates, and their indexes in `boxes`, int64 [kept].

    The order of `boxes` does not change the result.
    """
    best = scores.max(axis=1)
    # equal scores are ordered by position, so that the order of the input decides nothing
    order = np.lexsort((boxes[:, 1], boxes[:, 0], -best))
    likely = order[best[order] >= least_score]
    kept = likely[_without_duplicates(boxes[likely])]
    return Detections(boxes=boxes[kept], scores=scores[kept]), kept


def _without_duplicates(boxes: Floats) -> NDArray[np.int64]:
    """Non-maximum suppression: indexes of boxes [n, 4], in order, that repeat no box that is kept before them."""
    same = _same(boxes)
    kept: list[int] = []
    for index in range(len(boxes)):
        if not same[index, kept].any():
            kept.append(index)
    return np.array(kept, np.int64)


def _same(boxes: Floats) -> NDArray[np.bool_]:
    """Pairs of boxes [n, 4] that are the same object: bool [n, n]."""
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    away = np.linalg.norm(centres[:, None] - centres[None], axis=2)
    alike = np.minimum(areas[:, None], areas[None]) >= _SAME_SIZE * np.maximum(areas[:, None], areas[None])
    near = alike & (away < _SAME_CENTRE * np.sqrt((areas[:, None] + areas[None]) / 2))
    shared = intersections(boxes, boxes)
    same: NDArray[np.bool_] = near | (shared > _SAME_IOU * (areas[:, None] + areas[None] - shared))
    return same


@dataclass(frozen=True, slots=True, kw_only=True)
class OrientedBox:
    """A rectangle with a direction, in pixels of the network's input: where a plate or a group lies.

    Attributes:
        centre: float64 [2], x and y.
        along: float64 [2], unit vector of the direction of the text.
        width: side along that direction.
        height: side across it.
    """

    centre: Floats
    along: Floats
    width: float
    height: float

    @property
    def across(self) -> Floats:
        """Unit vector from the text's upper side to its lower side, float64 [2]."""
        return np.array((-self.along[1], self.along[0]))

    def to_local(self, points: Floats) -> Floats:
        """Points of the picture, float64 [n, 2] -> pixels along and across the box from its centre, float64 [n, 2]."""
        return (points - self.centre) @ np.stack((self.along, self.across), axis=1)

    @property
    def corners(self) -> Floats:
        """Corners from the text's upper left clockwise, float64 [4, 2]."""
        halves = np.array(((-1, -1), (1, -1), (1, 1), (-1, 1))) * (self.width / 2, self.height / 2)
        corners: Floats = self.centre + halves @ np.stack((self.along, self.across))
        return corners


def unit_direction(turn: Floats) -> Floats:
    """Scale (cosine, sine), float64 [2], to length 1; (0, 0) says nothing and counts as upright."""
    length = float(np.hypot(*turn))
    return turn / length if length > 0 else np.array((1.0, 0.0))


def oriented_box(box: Floats, along: Floats, ratios: AspectRatios) -> OrientedBox:
    """Find the rectangle with a direction that fills an upright box.

    The box is `width * cos + height * sin` wide and `width * sin + height * cos` high, which gives both, except at 45°:
    the nearer to it, the more the usual aspect ratio helps. A plate seen from the side is no rectangle, and its box may
    give an impossible aspect ratio: the nearest possible one is taken instead.

    Args:
        box: float64 [4]: left, top, right, bottom.
        along: float64 [2], unit vector of the direction.
        ratios: aspect ratios of what lies in the box.
    """
    left, top, right, bottom = box.tolist()
    cos, sin = abs(float(along[0])), abs(float(along[1]))
    width, height = _solve_sides((right - left, bottom - top), cos, sin, ratios.usual)
    aspect = width / height if height > 0 else ratios.most
    if width <= 0 or not ratios.least <= aspect <= ratios.most:
        aspect = ratios.least if width <= 0 else min(max(aspect, ratios.least), ratios.most)
        height = (right - left + bottom - top) / ((cos + sin) * (1 + aspect))
        width = aspect * height
    return OrientedBox(
        centre=np.array(((left + right) / 2, (top + bottom) / 2)),
        along=along,
        width=max(width, _LEAST_PX),
        height=max(height, _LEAST_PX),
    )


def _solve_sides(size: tuple[float, float], cos: float, sin: float, aspect: float) -> tuple[float, float]:
    """Least squares of both equations and, with a small weight, of `width = aspect * height`."""
    weight = _PRIOR * (2 * cos * sin) ** 2 / (1 + aspect**2)
    both = 2 * cos * sin - weight * aspect
    for_width, for_height = 1 + weight, 1 + weight * aspect**2
    wide, high = size[0] * cos + size[1] * sin, size[0] * sin + size[1] * cos
    scale = for_width * for_height - both**2
    return (for_height * wide - both * high) / scale, (for_width * high - both * wide) / scale
