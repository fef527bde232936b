"""Boxes of a plate detector for an evaluation: all detections of a picture, and the confusion of characters."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from shardline.partition.compare import Outputs
from shardline.tasks.plates.grammar import PlateGrammar, built_in
from shardline.training.evaluation.coco import ScoredBoxes, TrueObject, match, overlaps
from shardline.wire.view import View

Floats = NDArray[np.float64]

LEAST_SCORE = 0.01  # detections below it, of which there are thousands, change no average precision

# positions of boxes and of scores of boards, groups and characters among the outputs
_OUTPUTS = ((0, 1), (3, 4), (5, 6))
_LEAST_OVERLAP = 0.5  # IoU


def scored_boxes(outputs: Outputs, view: View, least_score: float = LEAST_SCORE) -> ScoredBoxes:
    """Read a detector's outputs for a batch of one: each class at each peak that reaches the score.

    Args:
        outputs: float32 [1, n, 4] boxes and [1, n, classes] scores, in the order of tasks/plates/detections.py.
    """
    arrays = list(outputs.values())
    labels, scores, boxes = [], [], []
    first = 0
    for boxes_at, scores_at in _OUTPUTS:
        peaks, label = np.nonzero(arrays[scores_at][0] >= least_score)
        labels.append(label + first)
        scores.append(arrays[scores_at][0][peaks, label].astype(np.float64))
        boxes.append(arrays[boxes_at][0][peaks].astype(np.float64))
        first += arrays[scores_at].shape[2]
    corners = view.to_picture(np.concatenate(boxes).reshape(-1, 2, 2))
    inside = np.clip(corners, 0, (view.width, view.height)).reshape(-1, 4)
    return ScoredBoxes(labels=np.concatenate(labels), scores=np.concatenate(scores), boxes=inside)


@dataclass(slots=True)
class CharacterConfusion:
    """Accumulator of the confusion matrix of characters, int64 [characters + 1, characters + 1].

    A row for each drawn character and a last one for nothing, a column for what is found there. At each position the
    class with the highest score counts, if it reaches the threshold. Crowd objects and what is found on them are
    ignored.
    """

    grammar: PlateGrammar = field(default_factory=built_in)
    counts: NDArray[np.int64] = field(init=False)
    _first: int = field(init=False)  # class of the first character

    def __post_init__(self) -> None:
        count = len(self.grammar.characters)
        self.counts = np.zeros((count + 1, count + 1), np.int64)
        self._first = len(self.grammar.classes) - count

    def add(self, true: Sequence[TrueObject], found: ScoredBoxes, threshold: float) -> None:
        """Add one picture."""
        nothing = len(self.counts) - 1
        labels, boxes = _best_characters(found, threshold, self._first)
        characters = [item for item in true if item.label >= self._first]
        expected = [item for item in characters if not item.crowd]
        crowd = [item for item in characters if item.crowd]
        matched = match(overlaps(boxes, [item.box for item in expected]), _LEAST_OVERLAP)
        on_crowd = overlaps(boxes, [item.box for item in crowd], [True] * len(crowd)).max(axis=1, initial=0.0)
        for label, index, covered in zip(labels.tolist(), matched, on_crowd.tolist(), strict=True):
            if index is not None:
                self.counts[expected[index].label - self._first, label - self._first] += 1
            elif covered < _LEAST_OVERLAP:
                self.counts[nothing, label - self._first] += 1
        for index in set(range(len(expected))) - set(matched):
            self.counts[expected[index].label - self._first, nothing] += 1


def _best_characters(found: ScoredBoxes, threshold: float, first: int) -> tuple[NDArray[np.int64], Floats]:
    """Labels [n] and boxes [n, 4] of the characters, highest score first, each position once."""
    chosen = np.flatnonzero((found.labels >= first) & (found.scores >= threshold))
    chosen = chosen[np.argsort(-found.scores[chosen], kind="stable")]
    _, unique = np.unique(found.boxes[chosen], axis=0, return_index=True)
    chosen = chosen[np.sort(unique)]
    return found.labels[chosen], found.boxes[chosen]
