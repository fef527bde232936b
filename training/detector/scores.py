"""Validation scores of the detector, and the calibration of its confidence."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from shardline.training.detector.model import OUTPUTS, SIZES, DetectionHead, PlateDetector, decode
from shardline.training.detector.objects import Column
from shardline.training.detector.samples import DetectorSample
from shardline.wire.boxes import iou

_OVERLAP = 0.5
_BOARD, _CHARACTER = 0.5, 0.3  # least scores
_LEAST_PX = 48  # width of a board: of a smaller one characters are two places apart, which are not always two peaks
_SURE = 0.7  # score from which a board where there is none counts as one

Floats = NDArray[np.float32]

_MOST = 128  # peaks of a kind in a picture
_LEAST = 1e-3  # score of a peak that is looked at
_FEWEST = 20  # peaks, right ones and wrong ones: of less nothing is learnt
_ROUNDS = 50


class DetectorScores:
    """Counts over batches."""

    def __init__(self) -> None:
        self._asked = self._right = self._found = self._pictures = self._false = 0

    def add(self, outputs: Sequence[Floats], samples: Sequence[DetectorSample]) -> None:
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
        overlaps = iou(found["board_boxes"], object_boxes(boards))
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


def object_boxes(things: Floats) -> Floats:
    """Rows of `DetectorSample.things` -> (left, top, right, bottom), [n, 4]."""
    middles, halves = things[:, [Column.X, Column.Y]], things[:, [Column.WIDTH, Column.HEIGHT]] / 2
    return np.concatenate((middles - halves, middles + halves), axis=1)


def _has(boxes: Floats, scores: Floats, things: Floats, least: float) -> bool:
    """Whether each of the things is among what was found, as what it is."""
    same = scores.argmax(1)[:, None] == things[None, :, Column.CLASS]
    good = (iou(boxes, object_boxes(things)) >= _OVERLAP) & same & (scores.max(1) >= least)[:, None]
    return bool(good.any(0).all())


def calibrate(
    model: PlateDetector, batches: Iterable[tuple[Tensor, Sequence[DetectorSample]]]
) -> list[tuple[float, float]]:
    """Change the heads' last layers, of a model without normalisation; -> slope and shift of each kind's logit.

    Args:
        batches: normalised pictures [batch, 3, height, width], and what is in them.
    """
    heads: tuple[DetectionHead, ...] = (model.boards, model.groups, model.characters)
    logits: list[list[Tensor]] = [[] for _ in heads]
    right: list[list[Tensor]] = [[] for _ in heads]
    with torch.inference_mode():
        for pictures, samples in batches:
            for kind, maps in enumerate(model.levels(pictures)):
                boxes, scores = decode(maps, _MOST, SIZES[kind])[:2]
                for at, sample in enumerate(samples):
                    sure, hit = _peaks(boxes[at], scores[at].sum(1), sample.things[sample.things[:, 0] == kind])
                    logits[kind].append(sure)
                    right[kind].append(hit)
    lines = [_line(torch.cat(each), torch.cat(hits)) for each, hits in zip(logits, right, strict=True)]
    for head, (slope, shift) in zip(heads, lines, strict=True):
        _apply(head, slope, shift)
    return lines


def _peaks(boxes: Tensor, scores: Tensor, things: Floats) -> tuple[Tensor, Tensor]:
    """Logits of one picture's peaks, and whether each is a thing's; without those at things that cannot be told."""
    kept = scores >= _LEAST
    found, sure = boxes[kept].cpu().numpy(), scores[kept].double().cpu().clamp(max=1 - 1e-9)
    known = things[:, Column.KNOWN] > 0
    overlaps = iou(found, object_boxes(things))
    hit = np.zeros(len(found), bool)
    taken = ~known
    for at in range(len(found)):  # the surest first, each thing once
        free = np.where(taken, 0.0, overlaps[at])
        if free.size and free.max() >= _OVERLAP:
            taken[int(free.argmax())] = hit[at] = True
    open_ = (overlaps[:, ~known] > 0).any(1) & ~hit
    counted = torch.from_numpy(~open_)
    return torch.logit(sure)[counted], torch.from_numpy(hit)[counted]


def _line(logits: Tensor, right: Tensor) -> tuple[float, float]:
    """The slope and shift with the least cross-entropy; 1 and 0 where there is too little to learn from."""
    if min(int(right.sum()), int((~right).sum())) < _FEWEST:
        return 1.0, 0.0
    line = torch.tensor([1.0, 0.0], dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([line], max_iter=_ROUNDS, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimiser.zero_grad()
        value = functional.binary_cross_entropy_with_logits(line[0] * logits + line[1], right.double())
        torch.autograd.backward(value)
        return value

    optimiser.step(loss)  # type: ignore[no-untyped-call]
    slope, shift = line.detach().tolist()
    return (slope, shift) if slope > 0 else (1.0, 0.0)


@torch.no_grad()
def _apply(head: DetectionHead, slope: float, shift: float) -> None:
    """The heat is the first of the channels, each of which is four places before they are laid out."""
    assert head.places.bias is not None
    head.places.weight[:4] *= slope
    head.places.bias[:4] = slope * head.places.bias[:4] + shift
