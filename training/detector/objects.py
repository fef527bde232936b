"""Objects in a picture as rows of numbers, and the jittered crops that the two readers are trained on."""

import math
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shardline.tasks.plates.text import CLASSES

BOARDS, GROUPS, CHARACTERS = CLASSES[:2], CLASSES[2:6], CLASSES[6:]
KINDS = (BOARDS, GROUPS, CHARACTERS)
PLACES = 7  # of a plate's characters: two digits, a letter, four digits


class Column(IntEnum):
    """What `Sample.things` says of each."""

    KIND = 0  # 0 board, 1 group, 2 character
    CLASS = 1  # within its kind
    X = 2  # of the box's middle
    Y = 3
    WIDTH = 4
    HEIGHT = 5
    COSINE = 6  # of the plate's direction
    SINE = 7
    PLATE = 8  # which of the picture's
    KNOWN = 9  # 0: it cannot be told what it is, so the detector may say what it likes
    VISIBLE = 10  # share of its box that is in the picture and not covered


NOTHING, IGNORED = len(CHARACTERS), -1  # in place of a character's class
TEXTS = 6  # the column of `plate_crops` from which on there are classes

_SPREADS = (0.5, 1, 1, 2)  # of a look: how far off it is, in times of what is usual
_OFF, _OTHER_SIZE = 0.06, 0.09  # spread of a character's middle, over its longer side; of its sizes' logarithms
_BOARD_OFF, _BOARD_OTHER_SIZE, _TURNED_DEG = 0.025, 0.04, 1.5  # of a board; its middle over its own sizes
_SIGN_OFF = 3.0  # times as far off is a look at what is no plate
_PLACE = [Column.X, Column.Y, Column.WIDTH, Column.HEIGHT, Column.COSINE, Column.SINE]
_NEVER_PX = 4.0  # height of a character that nobody can tell
_HIDDEN = 0.4  # a character of which less can be seen is none
_ELSEWHERE = 2  # looks at what may be no plate, in each picture
_WIDTHS_PX, _ASPECTS, _MOST_TURN_DEG = (24.0, 200.0), (0.8, 5.5), 25.0  # of those
_TOUCHING = 0.02  # of such a look, or of a plate, that both may share

Floats = NDArray[np.float32]
_Any = NDArray[np.floating[Any]]


def character_crops(random: np.random.Generator, things: Floats, side: int) -> Floats:
    """[m, 5]: left, top, right, bottom, class of the characters that can be told, whose middle is in the picture."""
    middles, sizes = things[:, [Column.X, Column.Y]], things[:, [Column.WIDTH, Column.HEIGHT]]
    told = (things[:, Column.KIND] == 2) & (things[:, Column.KNOWN] > 0) & ((middles >= 0) & (middles < side)).all(1)
    middles, sizes = middles[told], sizes[told]
    far = _OFF * random.choice(_SPREADS, (len(sizes), 1))
    middles = middles + far * random.normal(size=sizes.shape) * sizes.max(1, initial=0, keepdims=True)
    sizes = sizes * np.exp(_OTHER_SIZE * random.normal(size=sizes.shape))
    classes = things[told][:, [Column.CLASS]]
    return np.concatenate((middles - sizes / 2, middles + sizes / 2, classes), axis=1).astype(np.float32)


def plate_crops(random: np.random.Generator, things: Floats, signs: Floats, side: int) -> Floats:
    """[k, 13]: left, top, right, bottom, cosine and sine of the direction, classes of the seven characters.

    A class may be `NOTHING` or `IGNORED`. The rows are in no order.

    Args:
        signs: `Sample.signs`.
    """
    boards = things[things[:, Column.KIND] == 0]
    known, characters = boards[boards[:, Column.KNOWN] > 0], things[things[:, Column.KIND] == 2]
    texts = [_text(characters[characters[:, Column.PLATE] == each]) for each in known[:, Column.PLATE]]
    rows = (
        _shaken(random, known[:, _PLACE], np.array(texts).reshape(-1, PLACES)),
        _shaken(random, signs, np.full((len(signs), PLACES), NOTHING), _SIGN_OFF),
        _elsewhere(random, boards[:, _PLACE], side),
    )
    return random.permutation(np.concatenate(rows)).astype(np.float32)


def _shaken(random: np.random.Generator, places: _Any, texts: _Any, times: float = 1.0) -> _Any:
    """Looks at boards [n, 6]: middle, width and height, direction."""
    count = len(places)
    middles, sizes = places[:, :2], places[:, 2:4]
    far = times * random.choice(_SPREADS, (count, 1))
    middles = middles + _BOARD_OFF * far * random.normal(size=sizes.shape) * sizes
    sizes = sizes * np.exp(_BOARD_OTHER_SIZE * far * random.normal(size=sizes.shape))
    turns = np.arctan2(places[:, 5], places[:, 4])
    turns = turns + np.radians(_TURNED_DEG) * far[:, 0] * random.normal(size=count)
    return _rows(middles, sizes, turns, texts)


def _text(characters: _Any) -> _Any:
    """The seven classes, in the order in which they are read."""
    never = (characters[:, Column.VISIBLE] < _HIDDEN) | (characters[:, Column.HEIGHT] < _NEVER_PX)
    told = characters[:, Column.KNOWN] > 0
    return np.where(told, characters[:, Column.CLASS], np.where(never, NOTHING, IGNORED))


def _elsewhere(random: np.random.Generator, boards: _Any, side: int) -> _Any:
    """Looks at anything but these plates."""
    middles = random.uniform(0, side, (_ELSEWHERE, 2))
    widths = np.exp(random.uniform(*_logs(_WIDTHS_PX), _ELSEWHERE))
    sizes = np.stack((widths, widths / np.exp(random.uniform(*_logs(_ASPECTS), _ELSEWHERE))), axis=1)
    turns = np.radians(random.uniform(-_MOST_TURN_DEG, _MOST_TURN_DEG, _ELSEWHERE))
    rows = _rows(middles, sizes, turns, np.full((_ELSEWHERE, PLACES), NOTHING))
    centres, halves = boards[:, :2], boards[:, 2:4] / 2
    low, high = np.maximum(rows[:, None, :2], centres - halves), np.minimum(rows[:, None, 2:4], centres + halves)
    shared = np.clip(high - low, 0, None).prod(2)
    areas = np.minimum(sizes.prod(1)[:, None], 4 * halves.prod(1))
    apart: _Any = rows[(shared <= _TOUCHING * areas).all(1)]
    return apart


def _rows(middles: _Any, sizes: _Any, turns: _Any, texts: _Any) -> _Any:
    directions = np.stack((np.cos(turns), np.sin(turns)), axis=1)
    return np.concatenate((middles - sizes / 2, middles + sizes / 2, directions, texts), axis=1)


def _logs(ends: tuple[float, float]) -> tuple[float, float]:
    return math.log(ends[0]), math.log(ends[1])
