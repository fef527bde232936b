"""Objects in a picture as rows of numbers, and the jittered crops that the two readers are trained on.

Crops are boxes as far from the true ones as a detector's may be. The reader of plates is also shown crops without a
plate, and learns that there is nothing to read.
"""

import math
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shardline.tasks.plates.grammar import PlateGrammar

KINDS = 3  # of objects: boards, groups, characters


class Column(IntEnum):
    """Columns of `DetectorSample.objects`, float32 [n, 11]: one row for each object."""

    KIND = 0  # 0 board, 1 group, 2 character
    CLASS = 1  # index within the kind
    X = 2  # of the box's centre, in pixels
    Y = 3
    WIDTH = 4
    HEIGHT = 5
    COSINE = 6  # of the plate's orientation
    SINE = 7
    PLATE = 8  # number of the plate in the picture
    KNOWN = 9  # 0: the object is not recognisable, and ignored by the loss
    VISIBLE = 10  # share of the box that is in the picture and not covered


IGNORED = -1  # in place of a character's class: not counted
TEXTS = 6  # first column of the classes in `plate_crops`

_JITTERS = (0.5, 1, 1, 2)  # strength of the jitter, one of these at random
_CHARACTER_SHIFT, _CHARACTER_SCALE = 0.06, 0.09  # sigma, over the longer side; of the logarithm of the sides
_BOARD_SHIFT, _BOARD_SCALE, _BOARD_ANGLE_DEG = 0.025, 0.04, 1.5  # sigma, over the sides; of their logarithm
_SIGN_JITTER = 3.0  # strength of the jitter at boards that are no plates
_BOX = [Column.X, Column.Y, Column.WIDTH, Column.HEIGHT, Column.COSINE, Column.SINE]
_UNREADABLE_PX = 4.0  # height of a character below which there is nothing to read
_HIDDEN = 0.4  # visible share of a character below which there is nothing to read
_RANDOM_CROPS = 2  # crops at random positions in each picture
_WIDTHS_PX, _ASPECTS, _MOST_ANGLE_DEG = (24.0, 200.0), (0.8, 5.5), 25.0  # of random crops
_TOUCHING = 0.02  # largest share of a random crop or a plate that both may have in common

Floats = NDArray[np.float32]
_Any = NDArray[np.floating[Any]]


def classes_by_kind(grammar: PlateGrammar) -> tuple[tuple[str, ...], ...]:
    """The classes of boards, of groups and of characters, in the order of their indexes."""
    return grammar.boards, grammar.group_classes, tuple(grammar.characters.lower())


def nothing(grammar: PlateGrammar) -> int:
    """Index in place of a character's class where there is nothing to read: behind all characters."""
    return len(grammar.characters)


def character_crops(random: np.random.Generator, objects: Floats, side: int) -> Floats:
    """Jittered boxes of the recognisable characters whose centre is in the picture, float32 [m, 5].

    Columns: left, top, right, bottom, class.

    Args:
        objects: float32 [n, 11], see `Column`.
        side: of the picture, in pixels.
    """
    centres, sizes = objects[:, [Column.X, Column.Y]], objects[:, [Column.WIDTH, Column.HEIGHT]]
    known = (objects[:, Column.KIND] == 2) & (objects[:, Column.KNOWN] > 0)
    known &= ((centres >= 0) & (centres < side)).all(1)
    centres, sizes = centres[known], sizes[known]
    shift = _CHARACTER_SHIFT * random.choice(_JITTERS, (len(sizes), 1))
    centres = centres + shift * random.normal(size=sizes.shape) * sizes.max(1, initial=0, keepdims=True)
    sizes = sizes * np.exp(_CHARACTER_SCALE * random.normal(size=sizes.shape))
    classes = objects[known][:, [Column.CLASS]]
    return np.concatenate((centres - sizes / 2, centres + sizes / 2, classes), axis=1).astype(np.float32)


def plate_crops(
    random: np.random.Generator, objects: Floats, signs: Floats, side: int, grammar: PlateGrammar
) -> Floats:
    """Jittered boxes of recognisable plates and other boards, and random ones, in random order: float32 [k, 6 + n].

    Columns: left, top, right, bottom, cosine and sine of the orientation, and the classes of the n characters of a
    text, each of which may be `nothing` or `IGNORED`.

    Args:
        objects: float32 [n, 11], see `Column`.
        signs: float32 [m, 6], see `DetectorSample.signs`.
        side: of the picture, in pixels.
        grammar: of the plates.
    """
    empty = np.full((1, len(grammar.alphabets)), nothing(grammar))
    boards = objects[objects[:, Column.KIND] == 0]
    known, characters = boards[boards[:, Column.KNOWN] > 0], objects[objects[:, Column.KIND] == 2]
    texts = [
        _text(characters[characters[:, Column.PLATE] == plate], nothing(grammar)) for plate in known[:, Column.PLATE]
    ]
    rows = (
        _jittered(random, known[:, _BOX], np.array(texts).reshape(-1, empty.shape[1])),
        _jittered(random, signs, empty.repeat(len(signs), axis=0), _SIGN_JITTER),
        _random_crops(random, boards[:, _BOX], side, empty),
    )
    return random.permutation(np.concatenate(rows)).astype(np.float32)


def _jittered(random: np.random.Generator, boxes: _Any, texts: _Any, strength: float = 1.0) -> _Any:
    """Jitter boards [n, 6] (centre, width and height, cosine and sine) -> rows of `plate_crops`."""
    count = len(boxes)
    centres, sizes = boxes[:, :2], boxes[:, 2:4]
    far = strength * random.choice(_JITTERS, (count, 1))
    centres = centres + _BOARD_SHIFT * far * random.normal(size=sizes.shape) * sizes
    sizes = sizes * np.exp(_BOARD_SCALE * far * random.normal(size=sizes.shape))
    angles = np.arctan2(boxes[:, 5], boxes[:, 4])
    angles = angles + np.radians(_BOARD_ANGLE_DEG) * far[:, 0] * random.normal(size=count)
    return _rows(centres, sizes, angles, texts)


def _text(characters: _Any, nothing: int) -> _Any:
    """The classes of a plate's n characters, in reading order: rows [n, 11] -> [n]."""
    hidden = (characters[:, Column.VISIBLE] < _HIDDEN) | (characters[:, Column.HEIGHT] < _UNREADABLE_PX)
    known = characters[:, Column.KNOWN] > 0
    return np.where(known, characters[:, Column.CLASS], np.where(hidden, nothing, IGNORED))


def _random_crops(random: np.random.Generator, boards: _Any, side: int, empty: _Any) -> _Any:
    """Crops at random positions that overlap none of the plates [n, 6]: rows of `plate_crops` with the text `empty`."""
    centres = random.uniform(0, side, (_RANDOM_CROPS, 2))
    widths = np.exp(random.uniform(*_logs(_WIDTHS_PX), _RANDOM_CROPS))
    sizes = np.stack((widths, widths / np.exp(random.uniform(*_logs(_ASPECTS), _RANDOM_CROPS))), axis=1)
    angles = np.radians(random.uniform(-_MOST_ANGLE_DEG, _MOST_ANGLE_DEG, _RANDOM_CROPS))
    rows = _rows(centres, sizes, angles, empty.repeat(_RANDOM_CROPS, axis=0))
    plates, halves = boards[:, :2], boards[:, 2:4] / 2
    low, high = np.maximum(rows[:, None, :2], plates - halves), np.minimum(rows[:, None, 2:4], plates + halves)
    shared = np.clip(high - low, 0, None).prod(2)  # [crops, plates]
    smaller = np.minimum(sizes.prod(1)[:, None], 4 * halves.prod(1))
    apart: _Any = rows[(shared <= _TOUCHING * smaller).all(1)]
    return apart


def _rows(centres: _Any, sizes: _Any, angles: _Any, texts: _Any) -> _Any:
    directions = np.stack((np.cos(angles), np.sin(angles)), axis=1)
    return np.concatenate((centres - sizes / 2, centres + sizes / 2, directions, texts), axis=1)


def _logs(ends: tuple[float, float]) -> tuple[float, float]:
    return math.log(ends[0]), math.log(ends[1])
