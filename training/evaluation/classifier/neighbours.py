"""Retrieval as a classifier: what the neighbours vote for is the answer. And how many of the nearest are found at all.

Whatever is said comes from a reply, which tells of k neighbours: the classes are those of the data and one more, which
stands for all that is none of them. So a chain that is served has the figures of the one in process, without its index.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from shardline.training.evaluation.classifier.evaluate import Report
from shardline.training.evaluation.classifier.sources import Seen, Source
from shardline.training.evaluation.difference import Outputs
from shardline.training.evaluation.document import document
from shardline.training.evaluation.share import Share, share
from shardline.training.evaluation.tables import Table, with_interval

NOTHING = "n/a"  # what is said where no neighbour has a label; no folder can be called so

_WORDS = {"count": "neighbours", "right": "found"}


def read_votes(
    vote: str | None, labels: Sequence[str | None], classes: Sequence[str], outputs: Outputs | None = None
) -> Seen:
    """What neighbours say of one picture.

    A class's score is the share of the neighbours that have its label. The order is by this share, of equal ones by the
    nearest neighbour, and the vote is first; a class that no neighbour has is not said. The class after the data's own
    has the label that is said first of all that are none of theirs.

    Args:
        vote: the reply's.
        labels: of the neighbours, the nearest first.
        classes: of the data.
    """
    counts = Counter(label for label in labels if label is not None)
    ranked = [label for label, _ in counts.most_common()]  # of equally many the one that came first
    if vote is not None:
        ranked = [vote, *(label for label in ranked if label != vote)]
    places = {label: place for place, label in enumerate(classes)}
    names = (*classes, next((label for label in ranked if label not in places), NOTHING))
    order = [places.get(label, len(classes)) for label in ranked]
    return Seen(
        labels=names,
        scores=np.array([counts[label] for label in names]) / max(1, len(labels)),
        order=np.array(order or [len(classes)]),
        outputs=outputs,
    )


@dataclass(slots=True)
class Recall:
    """Adds pictures up: how many of the nearest there are does a search find?"""

    name: str
    _found: int = 0
    _nearest: int = 0

    def add(self, found: Collection[str], nearest: Collection[str]) -> None:
        """Ids of what a search found for one picture, and of what is nearest to it indeed."""
        self._found += len(set(found) & set(nearest))
        self._nearest += len(nearest)

    def figures(self) -> Share:
        return share(self.name, self._found, self._nearest)


class NeighbourSource(Source, Protocol):
    """One that may know how many of the nearest it found, of all that it was asked."""

    def recall(self) -> Share | None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrievalReport:
    """What the votes of `k` neighbours are worth; and of each side how many of the nearest it found, None where nobody
    knows."""

    k: int
    votes: Report
    recalls: tuple[Share | None, ...]

    def to_dict(self) -> dict[str, Any]:
        votes = self.votes.to_dict()
        recalls = document(self.recalls, _WORDS)
        sides = [{**side, "recall": recall} for side, recall in zip(votes["sides"], recalls, strict=True)]
        return {**votes, "k": self.k, "sides": sides}

    def tables(self) -> Iterator[Table | str]:
        """What there is beside the tables of a classifier."""
        names = [side.name for side in self.votes.sides]
        known = [each for each in self.recalls if each is not None]
        if known:
            row = (f"{known[0].name} (95 %)", *("-" if each is None else with_interval(each) for each in self.recalls))
            yield Table(title="nearest neighbours found", columns=("", *names), groups=((row,),))
        for name, recall in zip(names, self.recalls, strict=True):
            if recall is None:
                yield f"{name} does not tell what is nearest; name its bundle by --against for recall@{self.k}"
