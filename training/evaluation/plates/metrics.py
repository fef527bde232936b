"""Metrics of a plate detector: its readings, its boxes, its calibration, and false positives in plain photographs."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from shardline.tasks.plates.grammar import PlateGrammar, built_in
from shardline.training.evaluation.coco import RECALLS, AveragePrecision, BoxClassMetrics, mean
from shardline.training.evaluation.metrics import Calibration, CalibrationMetrics, SourceDifference, to_json
from shardline.training.evaluation.plates.boxes import (
    CharacterConfusion,
    scored_boxes,
)
from shardline.training.evaluation.plates.readings import (
    PlateReadings,
    ReadingMetrics,
    judge,
    scored_candidates,
    scored_characters,
    scored_predictions,
)

if TYPE_CHECKING:
    from shardline.training.evaluation.plates.pictures import PlatePicture
    from shardline.training.evaluation.plates.sources import PlatePrediction

# keys of report.json for fields that all tasks share
_KEYS = {"count": "plates", "same": "same_plates", "others": "other_plates"}


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxMetrics:
    """Metrics of boxes.

    Attributes:
        map50: mean of the classes' average precisions at IoU 0.5.
        map: mean of the classes' average precisions over IoU 0.5, 0.55, … 0.95.
        confusion: rows of boxes.CharacterConfusion.
    """

    map50: float | None
    map: float | None
    classes: tuple[BoxClassMetrics, ...]
    confusion: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlateMetrics:
    """Metrics of one source.

    Attributes:
        passes: mean number of times that the network ran for a picture.
        boxes: None where the source gives plates alone.
        calibration: of the plates' scores.
        candidate_calibration: of the probabilities of the candidates for a plate's text.
        character_calibration: of the scores of the reported characters.
        plain: readings in photographs without plates; None where none were given.
    """

    name: str
    passes: float | None
    readings: ReadingMetrics
    boxes: BoxMetrics | None
    calibration: CalibrationMetrics
    candidate_calibration: CalibrationMetrics
    character_calibration: CalibrationMetrics
    plain: ReadingMetrics | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlateReport:
    """Metrics of all sources, side by side. The first source is the evaluated one, differences are from it."""

    threshold: float
    pictures: int
    sides: tuple[PlateMetrics, ...]
    differences: tuple[SourceDifference, ...]
    characters: tuple[str, ...]  # rows of the confusion

    def to_dict(self) -> dict[str, Any]:
        return {**to_json(self, _KEYS), "recalls": RECALLS}


@dataclass(slots=True)
class PlateAccumulator:
    """Accumulator of one source's predictions."""

    name: str
    threshold: float
    grammar: PlateGrammar = field(default_factory=built_in)
    readings: PlateReadings = field(default_factory=PlateReadings)
    plain: PlateReadings = field(default_factory=PlateReadings)
    calibration: Calibration = field(default_factory=Calibration)
    candidates: Calibration = field(default_factory=Calibration)
    characters: Calibration = field(default_factory=Calibration)
    precision: AveragePrecision = field(init=False)
    confusion: CharacterConfusion = field(init=False)
    has_boxes: bool = True
    passes: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.precision = AveragePrecision(self.grammar.classes)
        self.confusion = CharacterConfusion(grammar=self.grammar)

    def add(self, picture: "PlatePicture", predicted: "PlatePrediction") -> None:
        self.passes.append(predicted.passes)
        self.readings.add(picture, judge(picture, predicted.plates), input_scale(predicted))
        unsure = judge(picture, predicted.unsure)
        self.calibration.add_all(scored_predictions(unsure))
        self.candidates.add_all(scored_candidates(unsure))
        self.characters.add_all(scored_characters(unsure))
        if predicted.outputs is None:
            self.has_boxes = False
            return
        found = scored_boxes(predicted.outputs, predicted.view)
        self.precision.add(picture.objects, found)
        self.confusion.add(picture.objects, found, self.threshold)

    def add_plain(self, photograph: "PlatePicture", predicted: "PlatePrediction") -> None:
        self.plain.add(photograph, judge(photograph, predicted.plates), input_scale(predicted))

    def metrics(self, *, plain: bool) -> PlateMetrics:
        return PlateMetrics(
            name=self.name,
            passes=mean(self.passes),
            readings=self.readings.metrics(),
            boxes=self._boxes() if self.has_boxes else None,
            calibration=self.calibration.metrics(),
            candidate_calibration=self.candidates.metrics(),
            character_calibration=self.characters.metrics(),
            plain=self.plain.metrics() if plain else None,
        )

    def _boxes(self) -> BoxMetrics:
        classes = self.precision.metrics(self.threshold)
        return BoxMetrics(
            map50=mean([found.ap50 for found in classes]),
            map=mean([found.ap for found in classes]),
            classes=classes,
            confusion=tuple(tuple(row) for row in self.confusion.counts.tolist()),
        )


def input_scale(predicted: "PlatePrediction") -> float:
    """Pixels of the network's input for one pixel of the picture."""
    return 1 / predicted.view.across
