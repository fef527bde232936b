"""What detectors make of pictures with plates: all that is counted of them, in one pass."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from shardline.training.evaluation.calibration import Calibration, CalibrationFigures
from shardline.training.evaluation.difference import Difference, Differing
from shardline.training.evaluation.document import document
from shardline.training.evaluation.plates.confusion import CHARACTERS, Confusion
from shardline.training.evaluation.plates.detections import detections
from shardline.training.evaluation.plates.misses import Miss, Misses
from shardline.training.evaluation.plates.precision import RECALLS, ClassFigures, Precision, mean
from shardline.training.evaluation.plates.readings import Prediction, ReadingFigures, Readings, judge, scored
from shardline.training.evaluation.plates.sample import Sample, Samples
from shardline.training.evaluation.plates.sources import Seen, Source
from shardline.training.evaluation.show import show
from shardline.training.evaluation.worst import Worst

# what stands in report.json for the names that all tasks share
_WORDS = {"count": "plates", "same": "same_plates", "others": "other_plates"}


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxFigures:
    """mAP is the mean of the classes' average precisions, at IoU 0.5, and over IoU 0.5, 0.55, … 0.95."""

    map50: float | None
    map: float | None
    classes: tuple[ClassFigures, ...]
    confusion: tuple[tuple[int, ...], ...]  # see confusion.Confusion


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """All about one source. `boxes` is None where it gives plates alone, `plain` where no photographs were shown.

    `passes` is how often the network ran for a picture, on average.
    """

    name: str
    passes: float | None
    readings: ReadingFigures
    boxes: BoxFigures | None
    calibration: CalibrationFigures
    plain: ReadingFigures | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The first side is the one that was asked for, the differences are the others' from it."""

    threshold: float
    pictures: int
    sides: tuple[Side, ...]
    differences: tuple[Difference, ...]

    def to_dict(self) -> dict[str, Any]:
        return {**document(self, _WORDS), "recalls": RECALLS, "characters": CHARACTERS}


def evaluate(
    samples: Samples,
    sources: Sequence[Source],
    threshold: float,
    plain: Samples | None = None,
    most_misses: int = 48,
    on_picture: Callable[[], None] = lambda: None,
) -> tuple[Report, list[Miss]]:
    """What the sources make of the pictures; and the first one's worst misses, the worst first.

    Args:
        plain: photographs without plates.
        on_picture: called after each.

    Raises:
        ShardlineError: a picture cannot be read, or a source does not answer.
    """
    tallies = [_Tally(source.name, threshold) for source in sources]
    differences = [Differing(source.name) for source in sources[1:]]
    worst: Worst[Miss] = Worst(most=most_misses)
    misses = Misses(worst)
    looks = [partial(source.look, threshold=threshold) for source in sources]
    for sample, seen in show(samples, looks, on_picture):
        for tally, each in zip(tallies, seen, strict=True):
            tally.add(sample, each)
        for difference, each in zip(differences, seen[1:], strict=True):
            same = _texts(each.plates) == _texts(seen[0].plates)
            difference.add(sample.name, each.outputs, seen[0].outputs, same=same)
        misses.add(sample, judge(sample, seen[0].plates), _scale(seen[0]))
    for sample, seen in show(plain or (), looks, on_picture):
        for tally, each in zip(tallies, seen, strict=True):
            tally.add_plain(sample, each)
        misses.add(sample, judge(sample, seen[0].plates), _scale(seen[0]))
    report = Report(
        threshold=threshold,
        pictures=len(samples),
        sides=tuple(tally.side(plain=plain is not None) for tally in tallies),
        differences=tuple(each.figures() for each in differences),
    )
    return report, worst.worst_first()


def _texts(plates: Sequence[Prediction]) -> list[tuple[str, ...]]:
    return sorted(tuple(str(plate.get(key)) for key in ("type", "sub_text", "main_text")) for plate in plates)


def _scale(seen: Seen) -> float:
    """Pixels of the network's input for one of the picture."""
    return 1 / seen.view.across


@dataclass(slots=True)
class _Tally:
    """One source's figures in the making."""

    name: str
    threshold: float
    readings: Readings = field(default_factory=Readings)
    plain: Readings = field(default_factory=Readings)
    calibration: Calibration = field(default_factory=Calibration)
    precision: Precision = field(default_factory=Precision)
    confusion: Confusion = field(default_factory=Confusion)
    has_boxes: bool = True
    passes: list[int] = field(default_factory=list)

    def add(self, sample: Sample, seen: Seen) -> None:
        self.passes.append(seen.passes)
        self.readings.add(sample, judge(sample, seen.plates), _scale(seen))
        for score, right in scored(judge(sample, seen.unsure)):
            self.calibration.add(score, right=right)
        if seen.outputs is None:
            self.has_boxes = False
            return
        found = detections(seen.outputs, seen.view)
        self.precision.add(sample.things, found)
        self.confusion.add(sample.things, found, self.threshold)

    def add_plain(self, sample: Sample, seen: Seen) -> None:
        self.plain.add(sample, judge(sample, seen.plates), _scale(seen))

    def side(self, *, plain: bool) -> Side:
        return Side(
            name=self.name,
            passes=mean(self.passes),
            readings=self.readings.figures(),
            boxes=self._boxes() if self.has_boxes else None,
            calibration=self.calibration.figures(),
            plain=self.plain.figures() if plain else None,
        )

    def _boxes(self) -> BoxFigures:
        classes = self.precision.figures(self.threshold)
        return BoxFigures(
            map50=mean([each.ap50 for each in classes]),
            map=mean([each.ap for each in classes]),
            classes=classes,
            confusion=tuple(tuple(row) for row in self.confusion.counts.tolist()),
        )
