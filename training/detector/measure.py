"""A quick measure while the detector is trained: which plates have their board and all their characters found.

The evaluation asks more: there, characters are put together to plates as they are when they are served.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from shardline.training.detector.data import Sample
from shardline.training.detector.model import OUTPUTS
from shardline.training.detector.things import Column

_OVERLAP = 0.5
_BOARD, _CHARACTER = 0.5, 0.3  # least scores
_LEAST_PX = 48  # width of a board: of a smaller one characters are two places apart, which are not always two peaks
_SURE = 0.7  # score from which a board where there is none counts as one

Floats = NDArray[np.float32]


class Measure:
    """Counts over batches."""

    def __init__(self) -> None:
        self._asked = self._right = self._found = self._pictures = self._false = 0

    def add(self, outputs: Sequence[Floats], samples: Sequence[Sample]) -> None:
        """What the detector gave for these pictures: arrays [batch, …] in the order of model.OUTPUTS."""
        for at, sample in enumerate(samples):
            self._add({name: value[at] for name, value in zip(OUTPUTS, outputs, strict=True)}, sample.things)

    def scores(self) -> dict[str, float]:
        """`score`: the share of readable plates from 48 pixels on that were read right; `found`: of their boards;
        `false`: boards a picture too many.
        """
        asked = max(1, self._asked)
        return {
            "score": self._right / asked,
            "found": self._found / asked,
            "false": self._false / max(1, self._pictures),
        }

    def _add(self, found: Mapping[str, Floats], things: Floats) -> None:
        boards = things[things[:, Column.KIND] == 0]
        overlaps = overlap(found["board_boxes"], boxes_of(boards))
        self._pictures += 1
        sure = found["board_scores"].max(1) >= _SURE
        self._false += int((sure & ~(overlaps >= _OVERLAP).any(1)).sum())
        for number in np.unique(boards[:, Column.PLATE]):
            plate = things[things[:, Column.PLATE] == number]
            board, characters = plate[plate[:, Column.KIND] == 0], plate[plate[:, Column.KIND] == 2]
            if plate[:, Column.KNOWN].all() and board[0, Column.WIDTH] >= _LEAST_PX:
                has_board = _has(found["board_boxes"], found["board_scores"], board, _BOARD)
                has_text = _has(found["character_boxes"], found["character_scores"], characters, _CHARACTER)
                self._asked += 1
                self._found += has_board
                self._right += has_board and has_text


def overlap(ones: Floats, others: Floats) -> Floats:
    """Intersection over union of boxes [n, 4] and [m, 4]: [n, m]."""
    least = np.maximum(ones[:, None, :2], others[None, :, :2])
    most = np.minimum(ones[:, None, 2:], others[None, :, 2:])
    shared = np.clip(most - least, 0, None).prod(2)
    areas = [np.clip(each[:, 2:] - each[:, :2], 0, None).prod(1) for each in (ones, others)]
    return np.asarray(shared / np.maximum(areas[0][:, None] + areas[1][None] - shared, 1e-6), np.float32)


def boxes_of(things: Floats) -> Floats:
    """Rows of `Sample.things` -> (left, top, right, bottom), [n, 4]."""
    middles, halves = things[:, [Column.X, Column.Y]], things[:, [Column.WIDTH, Column.HEIGHT]] / 2
    return np.concatenate((middles - halves, middles + halves), axis=1)


def _has(boxes: Floats, scores: Floats, things: Floats, least: float) -> bool:
    """Whether each of the things is among what was found, as what it is."""
    same = scores.argmax(1)[:, None] == things[None, :, Column.CLASS]
    good = (overlap(boxes, boxes_of(things)) >= _OVERLAP) & same & (scores.max(1) >= least)[:, None]
    return bool(good.any(0).all())
