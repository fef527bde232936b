"""What a user feels: is the plate found, and is all of it read right?"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from itertools import pairwise
from typing import Any

import numpy as np

from shardline.training.evaluation.plates.detections import match, overlaps
from shardline.training.evaluation.plates.sample import Sample, TruePlate
from shardline.training.evaluation.share import Share, share
from shardline.training.plates.geometry import Box, clip

LEAST_OVERLAP = 0.5  # IoU of a plate that is said to be somewhere with the one that is there

Prediction = Mapping[str, Any]  # one plate of a reply: see tasks/plates.py


class Outcome(Enum):
    RIGHT = "right"  # type and text
    WRONG_TYPE = "wrong type"  # the text is right
    MISREAD = "misread"
    INCOMPLETE = "incomplete"  # the reply says that a part is missing
    NOT_FOUND = "not found"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A plate that can be read, and what became of it."""

    plate: TruePlate
    prediction: Prediction | None
    outcome: Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """One picture. A second prediction for the same plate is false too."""

    asked: tuple[Asked, ...]
    false: tuple[Prediction, ...]  # where there is no plate
    ignored: tuple[Prediction, ...]  # on a plate that nobody could read


def judge(sample: Sample, predictions: Sequence[Prediction]) -> Judged:
    """What is said of a picture against what is in it."""
    ordered = sorted(predictions, key=lambda each: -float(each["score"]))
    boxes = [clip(_box(each), sample.size) for each in ordered]
    readable = [plate for plate in sample.plates if plate.readable]
    others = [plate for plate in sample.plates if not plate.readable]
    matched = match(overlaps(boxes, [plate.box for plate in readable]), LEAST_OVERLAP)
    found = {at: prediction for at, prediction in zip(matched, ordered, strict=True) if at is not None}
    # on a plate of which a part is covered, a part may be found
    on_others = overlaps(boxes, [plate.box for plate in others], [True] * len(others)).max(axis=1, initial=0.0)
    rest = [number for number, at in enumerate(matched) if at is None]
    return Judged(
        asked=tuple(
            Asked(plate=plate, prediction=found.get(at), outcome=_outcome(plate, found.get(at)))
            for at, plate in enumerate(readable)
        ),
        false=tuple(ordered[each] for each in rest if on_others[each] < LEAST_OVERLAP),
        ignored=tuple(ordered[each] for each in rest if on_others[each] >= LEAST_OVERLAP),
    )


def _box(prediction: Prediction) -> Box:
    left, top, right, bottom = (float(each) for each in prediction["box"])
    return left, top, right, bottom


def scored(judged: Judged) -> Iterator[tuple[float, bool]]:
    """The score of all that is said, and whether it is right.

    What is said of plates that nobody could read counts neither way; what is no plate is wrong.
    """
    for each in judged.asked:
        if each.prediction is not None:
            yield float(each.prediction["score"]), each.outcome is Outcome.RIGHT
    yield from ((float(prediction["score"]), False) for prediction in judged.false)


def text_of(prediction: Prediction) -> str:
    """'12A 3456'; a part that could not be read is '…'."""
    return " ".join(prediction.get(part) or "…" for part in ("sub_text", "main_text"))


def _outcome(plate: TruePlate, prediction: Prediction | None) -> Outcome:
    if prediction is None:
        return Outcome.NOT_FOUND
    if not prediction.get("sub_text") or not prediction.get("main_text"):
        return Outcome.INCOMPLETE
    if text_of(prediction) != plate.text:
        return Outcome.MISREAD
    return Outcome.RIGHT if prediction.get("type") == plate.kind else Outcome.WRONG_TYPE


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """A plate that was asked for, as far as figures need it."""

    kind: str
    width_px: float  # in the network's input
    blur_px: float
    motion_px: int
    angle_deg: float
    font: str
    outcome: Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadingFigures:
    all: Share
    by: Mapping[str, tuple[Share, ...]]  # "type", "width", "blur", "smear", "angle", "font" -> their bins
    outcomes: Mapping[str, int]
    pictures: int
    false_plates: int
    pictures_with_false: tuple[str, ...]  # names, no more than the first hundred
    ignored: int


@dataclass(slots=True)
class Readings:
    """Adds pictures up."""

    _rows: list[_Row] = field(default_factory=list)
    _pictures: int = 0
    _false: int = 0
    _ignored: int = 0
    _with_false: list[str] = field(default_factory=list)

    def add(self, sample: Sample, judged: Judged, scale: float) -> None:
        """One picture; `scale` is how many pixels of the network's input are one of the picture."""
        self._pictures += 1
        self._false += len(judged.false)
        self._ignored += len(judged.ignored)
        if judged.false and len(self._with_false) < _NAMED:
            self._with_false.append(sample.name)
        self._rows += (
            _Row(
                kind=each.plate.kind,
                width_px=each.plate.width_px * scale,
                blur_px=sample.blur_px,
                motion_px=sample.motion_px,
                angle_deg=abs(each.plate.angle_deg),
                font=each.plate.font,
                outcome=each.outcome,
            )
            for each in judged.asked
        )

    def figures(self) -> ReadingFigures:
        return ReadingFigures(
            all=_share("all", self._rows),
            by={name: _grouped(self._rows, group) for name, group in _GROUPS.items()},
            outcomes={each.value: sum(row.outcome is each for row in self._rows) for each in Outcome},
            pictures=self._pictures,
            false_plates=self._false,
            pictures_with_false=tuple(self._with_false),
            ignored=self._ignored,
        )


_NAMED = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class _Bins:
    """Ranges from each edge to the next, the last one without end; where 0 means none, the first one is called so."""

    value: Callable[[_Row], float]
    edges: tuple[float, ...]
    unit: str
    first: str | None = None

    def shares(self, rows: Sequence[_Row]) -> tuple[Share, ...]:
        values = np.array([self.value(row) for row in rows])
        numbers = np.digitize(values, self.edges) - 1 if len(rows) else np.zeros(0, int)
        return tuple(
            _share(name, [row for row, each in zip(rows, numbers.tolist(), strict=True) if each == number])
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


def _grouped(rows: Sequence[_Row], group: _Bins | Callable[[_Row], str]) -> tuple[Share, ...]:
    """Groups without plates are left out."""
    if isinstance(group, _Bins):
        return tuple(each for each in group.shares(rows) if each.count)
    by_name: dict[str, list[_Row]] = {}
    for row in rows:
        by_name.setdefault(group(row), []).append(row)
    return tuple(_share(name, by_name[name]) for name in sorted(by_name))


def _share(name: str, rows: Sequence[_Row]) -> Share:
    return share(name, sum(row.outcome is Outcome.RIGHT for row in rows), len(rows))
