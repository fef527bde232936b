"""Scores that mean what they say: of the peaks that score 0.8, four in five are what they seem to be.

The focal loss lets a detector stop at "likely": what it tells right is not pushed on to "sure". So on pictures that it
was not trained with, the logit of each kind's peaks is mapped by a straight line onto how often they are right (Platt,
"Probabilistic outputs for support vector machines", 1999). The line becomes part of the weights.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from shardline.training.detector.data import Sample
from shardline.training.detector.measure import boxes_of, overlap
from shardline.training.detector.model import SIZES, Head, PlateDetector, decode
from shardline.training.detector.things import Column

_MOST = 128  # peaks of a kind in a picture
_LEAST = 1e-3  # score of a peak that is looked at
_OVERLAP = 0.5  # IoU from which a peak's box is the thing's
_FEWEST = 20  # peaks, right ones and wrong ones: of less nothing is learnt
_ROUNDS = 50

Floats = NDArray[np.float32]


def calibrate(model: PlateDetector, batches: Iterable[tuple[Tensor, Sequence[Sample]]]) -> list[tuple[float, float]]:
    """Change the heads' last layers, of a model without normalisation; -> slope and shift of each kind's logit.

    Args:
        batches: normalised pictures [batch, 3, height, width], and what is in them.
    """
    heads: tuple[Head, ...] = (model.boards, model.groups, model.characters)
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
    overlaps = overlap(found, boxes_of(things))
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
def _apply(head: Head, slope: float, shift: float) -> None:
    """The heat is the first of the channels, each of which is four places before they are laid out."""
    assert head.places.bias is not None
    head.places.weight[:4] *= slope
    head.places.bias[:4] = slope * head.places.bias[:4] + shift
