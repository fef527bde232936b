"""What classifiers make of labelled pictures: all that is counted of them, in one pass."""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from shardline.training.evaluation.classifier.curves import GRID
from shardline.training.evaluation.classifier.sample import Sample, Samples
from shardline.training.evaluation.classifier.sources import Seen, Source, classes_of
from shardline.training.evaluation.classifier.tally import Side, Tally
from shardline.training.evaluation.difference import Difference, Differing, Outputs
from shardline.training.evaluation.document import document
from shardline.training.evaluation.plots import short
from shardline.training.evaluation.show import show
from shardline.training.evaluation.worst import Tile, Worst

_TILE_PX = (320, 240)  # of a mistake's picture
# what stands in report.json for the names that all tasks share
_WORDS = {"count": "pictures", "same": "same_class", "others": "other_pictures"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The first side is the one that was asked for, the differences are the others' from it."""

    pictures: int
    labels: tuple[str, ...]
    sides: tuple[Side, ...]
    differences: tuple[Difference, ...]

    def to_dict(self) -> dict[str, Any]:
        return {**document(self, _WORDS), "grid": GRID}


def evaluate(
    samples: Samples,
    sources: Sequence[Source],
    most_mistakes: int = 48,
    on_picture: Callable[[], None] = lambda: None,
) -> tuple[Report, list[Tile]]:
    """What the sources make of the pictures; and the first one's worst mistakes: those that it was surest of.

    Args:
        on_picture: called after each.

    Raises:
        ShardlineError: a picture cannot be read, a source does not answer, or does not know a label.
    """
    tallies = [Tally(source.name, samples.labels) for source in sources]
    differences = [Differing(source.name) for source in sources[1:]]
    worst: Worst[Tile] = Worst(most=most_mistakes)
    for sample, seen in show(samples, [source.look for source in sources], on_picture):
        right = [tally.add(sample.label, each) for tally, each in zip(tallies, seen, strict=True)]
        for difference, each in zip(differences, seen[1:], strict=True):
            difference.add(sample.name, *_numbers(each, seen[0]), same=_answer(each) == _answer(seen[0]))
        if not right[0]:
            badness = float(seen[0].scores[seen[0].order[0]])
            worst.add(badness, partial(_tile, sample, samples.labels[sample.label], seen[0]))
    report = Report(
        pictures=len(samples),
        labels=samples.labels,
        sides=tuple(tally.side() for tally in tallies),
        differences=tuple(each.figures() for each in differences),
    )
    return report, worst.worst_first()


def _answer(seen: Seen) -> str:
    return seen.labels[int(seen.order[0])]


def _numbers(found: Seen, first: Seen) -> tuple[Outputs, Outputs]:
    """What is compared to the bit: outputs, or where one of the two gives none, the scores of all classes."""
    if found.outputs is not None and first.outputs is not None:
        return found.outputs, first.outputs
    return {"scores": found.scores}, {"scores": first.scores}


def _tile(sample: Sample, label: str, seen: Seen) -> Tile:
    with Image.open(io.BytesIO(sample.picture)) as opened:
        image = ImageOps.exif_transpose(opened).convert("RGB")
    own = seen.scores[classes_of([label], seen.labels)[0]]
    return Tile(
        pixels=np.asarray(ImageOps.pad(image, _TILE_PX, color="#eeeeee")),
        title=f"{label}: {own:.2f}\n→ {_answer(seen)}: {seen.scores[seen.order[0]]:.2f}\n{short(sample.name)}",
    )
