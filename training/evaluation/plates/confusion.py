"""Which character is taken for which."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from shardline.tasks.plates.text import CLASSES
from shardline.training.evaluation.plates.detections import Detections, match, overlaps
from shardline.training.evaluation.plates.sample import Thing

FIRST = CLASSES.index("0")
CHARACTERS = tuple(each.upper() for each in CLASSES[FIRST:])
_NONE = len(CHARACTERS)  # nothing is there, or nothing is found
_LEAST_OVERLAP = 0.5


@dataclass(slots=True)
class Confusion:
    """Counts, a row for each character that is drawn and a last one for nothing, a column for what is found there.

    At each place the best class counts, if it reaches the threshold. Characters that cannot be told, and what is found
    on them, are left out.
    """

    counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros((_NONE + 1, _NONE + 1), np.int64))

    def add(self, true: Sequence[Thing], found: Detections, threshold: float) -> None:
        """One picture."""
        labels, boxes = _best(found, threshold)
        asked = [thing for thing in true if thing.label >= FIRST and not thing.crowd]
        crowd = [thing for thing in true if thing.label >= FIRST and thing.crowd]
        matched = match(overlaps(boxes, [thing.box for thing in asked]), _LEAST_OVERLAP)
        on_crowd = overlaps(boxes, [thing.box for thing in crowd], [True] * len(crowd)).max(axis=1, initial=0.0)
        for label, at, covered in zip(labels.tolist(), matched, on_crowd.tolist(), strict=True):
            if at is not None:
                self.counts[asked[at].label - FIRST, label - FIRST] += 1
            elif covered < _LEAST_OVERLAP:
                self.counts[_NONE, label - FIRST] += 1
        for at in set(range(len(asked))) - set(matched):
            self.counts[asked[at].label - FIRST, _NONE] += 1


def _best(found: Detections, threshold: float) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Labels and boxes of the characters, the surest first, each place once."""
    chosen = np.flatnonzero((found.labels >= FIRST) & (found.scores >= threshold))
    chosen = chosen[np.argsort(-found.scores[chosen], kind="stable")]
    _, first = np.unique(found.boxes[chosen], axis=0, return_index=True)
    chosen = chosen[np.sort(first)]
    return found.labels[chosen], found.boxes[chosen]
