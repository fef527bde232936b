"""Metrics of plate readings, as a user sees them: is the plate found, and are its type and its whole text right?"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from shardline.tasks.plates.grammar import PlateGrammar
from shardline.training.evaluation.coco import match, overlaps
from shardline.training.evaluation.metrics import MOST_NAMES, Proportion, proportion
from shardline.training.plates.geometry import Box, clip

if TYPE_CHECKING:
    from shardline.training.evaluation.plates.pictures import PlatePicture, TruePlate

LEAST_OVERLAP = 0.5  # IoU of a reported plate with the true one

COVERED_OUTCOMES = ("not read", "guessed right", "misread")  # of a group with a covered character

RawPlate = Mapping[str, Any]  # one plate of a reply: see tasks/plates/task.py


class ReadingOutcome(Enum):
    RIGHT = "right"  # type and text
    WRONG_TYPE = "wrong type"  # the text is right
    MISREAD = "misread"
    INCOMPLETE = "incomplete"  # the reply reports that a part is missing
    NOT_FOUND = "not found"


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedPlate:
    """A readable plate, the prediction that matches it, and its outcome."""

    plate: "TruePlate"
    prediction: RawPlate | None
    outcome: ReadingOutcome


@dataclass(frozen=True, slots=True, kw_only=True)
class IgnoredPrediction:
    """A prediction on a plate that is not readable."""

    plate: "TruePlate"
    prediction: RawPlate


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedPicture:
    """All predictions for one picture. A second prediction for the same plate is a false positive."""

    plates: tuple[JudgedPlate, ...]  # the readable ones
    false: tuple[RawPlate, ...]  # false positives
    ignored: tuple[IgnoredPrediction, ...]


def judge(picture: "PlatePicture", predictions: Sequence[RawPlate]) -> JudgedPicture:
    """Compare the predictions for a picture with its ground truth."""
    ordered = sorted(predictions, key=lambda prediction: -float(prediction["score"]))
    boxes = [clip(_box(prediction), picture.size) for prediction in ordered]
    readable = [plate for plate in picture.plates if plate.readable]
    others = [plate for plate in picture.plates if not plate.readable]
    matched = match(overlaps(boxes, [plate.box for plate in readable]), LEAST_OVERLAP)
    found = {index: prediction for index, prediction in zip(matched, ordered, strict=True) if index is not None}
    # a plate that is partly covered may be found in part: its overlap is relative to the found box
    with_others = overlaps(boxes, [plate.box for plate in others], [True] * len(others))
    on_others = with_others.max(axis=1, initial=0.0)
    unmatched = [number for number, index in enumerate(matched) if index is None]
    return JudgedPicture(
        plates=tuple(
            JudgedPlate(plate=plate, prediction=found.get(index), outcome=_outcome(plate, found.get(index)))
            for index, plate in enumerate(readable)
        ),
        false=tuple(ordered[number] for number in unmatched if on_others[number] < LEAST_OVERLAP),
        ignored=tuple(
            IgnoredPrediction(plate=others[int(with_others[number].argmax())], prediction=ordered[number])
            for number in unmatched
            if on_others[number] >= LEAST_OVERLAP
        ),
    )


def _box(prediction: RawPlate) -> Box:
    left, top, right, bottom = (float(value) for value in prediction["box"])
    return left, top, right, bottom


def scored_predictions(judged: JudgedPicture) -> Iterator[tuple[float, bool]]:
    """Yield the score of each prediction and whether it is right.

    Predictions for plates that are not readable are left out; false positives are wrong.
    """
    for judged_plate in judged.plates:
        if judged_plate.prediction is not None:
            yield float(judged_plate.prediction["score"]), judged_plate.outcome is ReadingOutcome.RIGHT
    yield from ((float(prediction["score"]), False) for prediction in judged.false)


def scored_candidates(judged: JudgedPicture) -> Iterator[tuple[float, bool]]:
    """Yield the probability of each candidate of a readable plate and whether it is the plate's text."""
    for judged_plate in judged.plates:
        for candidate in (judged_plate.prediction or {}).get("candidates", ()):
            texts = {part: candidate.get(part) for part in judged_plate.plate.texts}
            yield float(candidate["probability"]), texts == judged_plate.plate.texts


def scored_characters(judged: JudgedPicture) -> Iterator[tuple[float, bool]]:
    """Yield the score of each reported character of a readable plate and whether it is right."""
    for judged_plate in judged.plates:
        found = judged_plate.prediction or {}
        true_groups = judged_plate.plate.texts
        true = "".join(text for part, text in true_groups.items() if found.get(part))
        for character, true_character in zip(found.get("characters", ()), true, strict=False):
            yield float(character["score"]), character["character"] == true_character


def covered_groups(judged: JudgedPicture) -> Iterator[str]:
    """Yield what is reported of each group of a found plate with a character that cannot be recognised.

    It is one of COVERED_OUTCOMES.
    """
    for ignored in judged.ignored:
        for (part, text), readable in zip(ignored.plate.texts.items(), ignored.plate.readable_groups, strict=False):
            if not readable:
                reported = ignored.prediction.get(part)
                yield COVERED_OUTCOMES[0 if not reported else 1 if reported == text else 2]


def text_of(prediction: RawPlate, grammar: PlateGrammar) -> str:
    """The text of a plate, such as '12A 3456'; a part that could not be read is '…'."""
    return grammar.separator.join(prediction.get(group.name) or "…" for group in grammar.groups)


def _outcome(plate: "TruePlate", prediction: RawPlate | None) -> ReadingOutcome:
    if prediction is None:
        return ReadingOutcome.NOT_FOUND
    texts = {part: prediction.get(part) for part in plate.texts}
    if not all(texts.values()):
        return ReadingOutcome.INCOMPLETE
    if texts != plate.texts:
        return ReadingOutcome.MISREAD
    return ReadingOutcome.RIGHT if prediction.get("type") == plate.kind else ReadingOutcome.WRONG_TYPE


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """A readable plate, as far as the metrics need it."""

    kind: str
    width_px: float  # in the network's input
    blur_px: float
    motion_px: int
    angle_deg: float
    font: str
    outcome: ReadingOutcome


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadingMetrics:
    """Proportions of plates whose type and text are right.

    Attributes:
        by: "type", "width", "blur", "smear", "angle" or "font" -> the proportion in each of its groups.
        outcomes: number of plates with each outcome.
        pictures_with_false: names of pictures with false positives, at most a hundred.
        ignored: predictions for plates that are not readable.
        covered_groups: of the groups with a covered character on these plates, how many have each of COVERED_OUTCOMES.
    """

    all: Proportion
    by: Mapping[str, tuple[Proportion, ...]]
    outcomes: Mapping[str, int]
    pictures: int
    false_plates: int
    pictures_with_false: tuple[str, ...]
    ignored: int
    covered_groups: Mapping[str, int]


@dataclass(slots=True)
class PlateReadings:
    """Accumulator of judged pictures."""

    _rows: list[_Row] = field(default_factory=list)
    _pictures: int = 0
    _false: int = 0
    _ignored: int = 0
    _covered: Counter[str] = field(default_factory=Counter)
    _with_false: list[str] = field(default_factory=list)

    def add(self, picture: "PlatePicture", judged: JudgedPicture, scale: float) -> None:
        """Add one picture; `scale` is the number of pixels of the network's input for one pixel of the picture."""
        self._pictures += 1
        self._false += len(judged.false)
        self._ignored += len(judged.ignored)
        self._covered.update(covered_groups(judged))
        if judged.false and len(self._with_false) < MOST_NAMES:
            self._with_false.append(picture.name)
        self._rows += (
            _Row(
                kind=judged_plate.plate.kind,
                width_px=judged_plate.plate.width_px * scale,
                blur_px=picture.blur_px,
                motion_px=picture.motion_px,
                angle_deg=abs(judged_plate.plate.angle_deg),
                font=judged_plate.plate.font,
                outcome=judged_plate.outcome,
            )
            for judged_plate in judged.plates
        )

    def metrics(self) -> ReadingMetrics:
        return ReadingMetrics(
            all=_right("all", self._rows),
            by={name: _grouped(self._rows, group) for name, group in _GROUPS.items()},
            outcomes={outcome.value: sum(row.outcome is outcome for row in self._rows) for outcome in ReadingOutcome},
            pictures=self._pictures,
            false_plates=self._false,
            pictures_with_false=tuple(self._with_false),
            ignored=self._ignored,
            covered_groups={outcome: self._covered[outcome] for outcome in COVERED_OUTCOMES},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Bins:
    """Ranges from each edge to the next; the last one is open-ended. `first` is the name of the first range, where 0
    means that there is no such effect."""

    value: Callable[[_Row], float]
    edges: tuple[float, ...]
    unit: str
    first: str | None = None

    def proportions(self, rows: Sequence[_Row]) -> tuple[Proportion, ...]:
        values = np.array([self.value(row) for row in rows])
        bins = np.digitize(values, self.edges) - 1 if len(rows) else np.zeros(0, int)
        return tuple(
            _right(name, [row for row, bin_of_row in zip(rows, bins.tolist(), strict=True) if bin_of_row == number])
            for number, name in enumerate(self.names())
        )

    def names(self) -> list[str]:
        names = [f"{low:g}–{high:g}{self.unit}" for low, high in pairwise(self.edges)]
        names.append(f"{self.edges[-1]:g}{self.unit} and more")
        return names if self.first is None else [self.first, *names[1:]]


_GROUPS: Mapping[str, _Bins | Callable[[_Row], str]] = {
    "type": lambda row: row.kind,
    "width": _Bins(value=lambda row: row.width_px, edges=(0, 16, 32, 64, 96, 128), unit=" px"),
    "blur": _Bins(value=lambda row: row.blur_px, edges=(0, 0.25, 0.5, 1, 2), unit=" px", first="none"),
    "smear": _Bins(value=lambda row: row.motion_px, edges=(0, 2, 4, 8), unit=" px", first="none"),
    "angle": _Bins(value=lambda row: row.angle_deg, edges=(0, 5, 10, 15, 20), unit="°"),
    "font": lambda row: row.font,
}


def _grouped(rows: Sequence[_Row], group: _Bins | Callable[[_Row], str]) -> tuple[Proportion, ...]:
    """Proportions of each group; groups without plates are left out."""
    if isinstance(group, _Bins):
        return tuple(found for found in group.proportions(rows) if found.count)
    by_name: dict[str, list[_Row]] = {}
    for row in rows:
        by_name.setdefault(group(row), []).append(row)
    return tuple(_right(name, by_name[name]) for name in sorted(by_name))


def _right(name: str, rows: Sequence[_Row]) -> Proportion:
    return proportion(name, sum(row.outcome is ReadingOutcome.RIGHT for row in rows), len(rows))
