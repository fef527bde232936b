"""Validation scores of the detector, and the calibration of its confidence.

Calibration makes scores mean what they say: of the peaks that score 0.8, four in five are right. The focal loss lets a
detector stop at "likely": what it gets right is not pushed on towards 1. So the logit of each kind's peaks is mapped by
a line onto how often they are right, on pictures that it was not trained with (Platt, "Probabilistic outputs for
support vector machines", 1999). The line becomes part of the weights.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from shardline.training.detector.model import OUTPUTS, SIZES, DetectionHead, PlateDetector, decode
from shardline.training.detector.objects import Column
from shardline.wire.boxes import iou
from shardline.wire.limits import PLATE_SCORE

if TYPE_CHECKING:
    from shardline.training.detector.samples import DetectorSample

_IOU = 0.5  # from which a box is an object's
_BOARD, _CHARACTER = 0.5, 0.3  # least scores of a right plate's board and characters
_LEAST_PX = 48  # width of a board: characters of a narrower one are two positions apart, not always two peaks
_MOST = 128  # peaks of a kind in a picture, for calibration
_LEAST = 1e-3  # least score of a peak that calibration considers
_FEWEST = 20  # right and wrong peaks that calibration needs
_ROUNDS = 50

Floats = NDArray[np.float32]


class DetectorScores:
    """Quick validation scores: plates whose board and characters are all found.

    The evaluation does more: there, characters are put together to plates as when they are served.
    """

    def __init__(self) -> None:
        self._expected = self._right = self._found = self._pictures = self._false = 0

    def add(self, outputs: Sequence[Floats], samples: "Sequence[DetectorSample]") -> None:
        """Count the detector's outputs for these samples: float32 [batch, ...] each, in the order of model.OUTPUTS."""
        for index, sample in enumerate(samples):
            self._add({name: value[index] for name, value in zip(OUTPUTS, outputs, strict=True)}, sample.objects)

    def scores(self) -> dict[str, float]:
        """`score`: the share of readable plates at least 48 pixels wide that are read right.

        `found`: the share of their boards that are found; `false`: wrong boards per picture.
        """
        expected = max(1, self._expected)
        return {
            "score": self._right / expected,
            "found": self._found / expected,
            "false": self._false / max(1, self._pictures),
        }

    def _add(self, found: Mapping[str, Floats], objects: Floats) -> None:
        boards = objects[objects[:, Column.KIND] == 0]
        overlaps = iou(found["board_boxes"], object_boxes(boards))
        self._pictures += 1
        sure = found["board_scores"].max(1) >= PLATE_SCORE
        self._false += int((sure & ~(overlaps >= _IOU).any(1)).sum())
        for number in np.unique(boards[:, Column.PLATE]):
            plate = objects[objects[:, Column.PLATE] == number]
            board, characters = plate[plate[:, Column.KIND] == 0], plate[plate[:, Column.KIND] == 2]
            if plate[:, Column.KNOWN].all() and board[0, Column.WIDTH] >= _LEAST_PX:
                has_board = _has(found["board_boxes"], found["board_scores"], board, _BOARD)
                has_text = _has(found["character_boxes"], found["character_scores"], characters, _CHARACTER)
                self._expected += 1
                self._found += has_board
                self._right += has_board and has_text


def object_boxes(objects: Floats) -> Floats:
    """Boxes (left, top, right, bottom), float32 [n, 4], of objects, float32 [n, 11]; see `Column`."""
    centres, halves = objects[:, [Column.X, Column.Y]], objects[:, [Column.WIDTH, Column.HEIGHT]] / 2
    return np.concatenate((centres - halves, centres + halves), axis=1)


def calibrate(
    model: PlateDetector, batches: "Iterable[tuple[Tensor, Sequence[DetectorSample]]]"
) -> list[tuple[float, float]]:
    """Calibrate the heads' last layers of a model without normalisation; return slope and shift of each kind's logit.

    Args:
        batches: normalised pictures, float32 [batch, 3, height, width], and their samples.
    """
    heads: tuple[DetectionHead, ...] = (model.boards, model.groups, model.characters)
    logits: list[list[Tensor]] = [[] for _ in heads]
    right: list[list[Tensor]] = [[] for _ in heads]
    with torch.inference_mode():
        for pictures, samples in batches:
            for kind, maps in enumerate(model.levels(pictures)):
                boxes, scores = decode(maps, _MOST, SIZES[kind])[:2]
                for index, sample in enumerate(samples):
                    of_kind = sample.objects[sample.objects[:, Column.KIND] == kind]
                    peaks, hits = _judged_peaks(boxes[index], scores[index].sum(1), of_kind)
                    logits[kind].append(peaks)
                    right[kind].append(hits)
    lines = [_line(torch.cat(peaks), torch.cat(hits)) for peaks, hits in zip(logits, right, strict=True)]
    for head, (slope, shift) in zip(heads, lines, strict=True):
        _apply(head, slope, shift)
    return lines


def _has(boxes: Floats, scores: Floats, objects: Floats, least: float) -> bool:
    """Tell whether each object [m, 11] is found with its class: boxes [n, 4], scores [n, classes]."""
    same = scores.argmax(1)[:, None] == objects[None, :, Column.CLASS]
    good = (iou(boxes, object_boxes(objects)) >= _IOU) & same & (scores.max(1) >= least)[:, None]
    return bool(good.any(0).all())


def _judged_peaks(boxes: Tensor, scores: Tensor, objects: Floats) -> tuple[Tensor, Tensor]:
    """The logits [k] of one picture's peaks, and whether each is right [k]; peaks at ignored objects are left out."""
    kept = scores >= _LEAST
    found, chances = boxes[kept].cpu().numpy(), scores[kept].double().cpu().clamp(max=1 - 1e-9)
    known = objects[:, Column.KNOWN] > 0
    overlaps = iou(found, object_boxes(objects))
    hit = np.zeros(len(found), bool)
    taken = ~known
    for index in range(len(found)):  # highest score first; each object is taken once
        free = np.where(taken, 0.0, overlaps[index])
        if free.size and free.max() >= _IOU:
            taken[int(free.argmax())] = hit[index] = True
    ignored = (overlaps[:, ~known] > 0).any(1) & ~hit
    counted = torch.from_numpy(~ignored)
    return torch.logit(chances)[counted], torch.from_numpy(hit)[counted]


def _line(logits: Tensor, right: Tensor) -> tuple[float, float]:
    """The slope and shift with the least cross-entropy; 1 and 0 where there are too few peaks."""
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
    """Scale the heat map's logits: the first channel, which is four channels before sub-pixel convolution."""
    assert head.places.bias is not None
    head.places.weight[:4] *= slope
    head.places.bias[:4] = slope * head.places.bias[:4] + shift
