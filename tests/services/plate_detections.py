"""Outputs of a perfect plate detector for plates in the plane, to be altered by tests."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from shardline.tasks.plates.grammar import built_in
from shardline.tasks.plates.text import PlateText
from shardline.wire.view import View

NAMES = (
    "board_boxes",
    "board_scores",
    "board_turns",
    "group_boxes",
    "group_scores",
    "character_boxes",
    "character_scores",
)

CLASSES = built_in().classes
LISTED = (16, 32, 128)  # detections that a detector lists of boards, groups and characters
FIRST = (0, 2, 6)  # in CLASSES, of boards, groups and characters
COUNTS = (2, 4, 15)
SIDE = 512
SQUARE = View(width=SIDE, height=SIDE)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaneDetection:
    """One detection: `box` is (left, top, right, bottom), `others` are classes and scores other than `label`'s own."""

    label: str
    box: tuple[float, float, float, float]
    score: float = 0.9
    angle: float = 0.0
    others: tuple[tuple[str, float], ...] = field(default=())


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanePlate:
    """A plate in the plane, turned clockwise by `angle` degrees."""

    kind: str
    text: PlateText
    centre: tuple[float, float] = (256.0, 256.0)
    width: float = 200.0
    aspect: float = 4.5
    angle: float = 0.0
    score: float = 0.9

    @property
    def height(self) -> float:
        return self.width / self.aspect

    def detections(self) -> list[PlaneDetection]:
        """The board, both groups and the seven characters, in reading order."""
        characters = self._characters()
        small, main = characters[:3], characters[3:]
        board = self._detection(
            f"{self.kind[0]}_board", (-self.width / 2, -self.height / 2, self.width / 2, self.height / 2)
        )
        groups = [
            self._detection(f"{self.kind[0]}_{group}_n", _around([box for _, box in part]))
            for group, part in zip(("s", "m"), (small, main), strict=True)
        ]
        return [board, *groups, *(self._detection(character.lower(), box) for character, box in characters)]

    def _characters(self) -> list[tuple[str, tuple[float, float, float, float]]]:
        """The characters, each with its box relative to the plate's centre."""
        if self.kind == "long":
            return _row(self.text.groups[0], -0.47 * self.width, 0.0, 0.62 * self.height) + _row(
                self.text.groups[1], 0.0, 0.0, 0.62 * self.height
            )
        return _row(self.text.groups[0], -0.3 * self.width, -0.26 * self.height, 0.28 * self.height) + _row(
            self.text.groups[1], -0.45 * self.width, 0.17 * self.height, 0.46 * self.height
        )

    def _detection(self, label: str, box: tuple[float, float, float, float]) -> PlaneDetection:
        left, top, right, bottom = box
        corners = np.array(((left, top), (right, top), (right, bottom), (left, bottom)))
        turned = turn(corners, self.angle) + self.centre
        low, high = turned.min(axis=0), turned.max(axis=0)
        return PlaneDetection(label=label, box=(*low.tolist(), *high.tolist()), score=self.score, angle=self.angle)


def turn(positions: np.ndarray, angle: float) -> np.ndarray:
    """Turn points, float [n, 2], clockwise about (0, 0), with y down."""
    cos, sin = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    return positions @ np.array(((cos, sin), (-sin, cos)))


def _row(text: str, left: float, middle: float, height: float) -> list[tuple[str, tuple[float, float, float, float]]]:
    """Characters half as wide as high, a 1 a fifth, each in a cell of 0.66 heights."""
    placed = []
    for index, character in enumerate(text):
        centre = left + (index + 0.5) * 0.66 * height
        half = (0.1 if character == "1" else 0.25) * height
        placed.append((character, (centre - half, middle - height / 2, centre + half, middle + height / 2)))
    return placed


def _around(boxes: Sequence[tuple[float, float, float, float]]) -> tuple[float, float, float, float]:
    values = np.array(boxes)
    left, top = values[:, :2].min(axis=0).tolist()
    right, bottom = values[:, 2:].max(axis=0).tolist()
    return left, top, right, bottom


def outputs(*pictures: Sequence[PlaneDetection]) -> dict[str, np.ndarray]:
    """Outputs for a batch of pictures, float32 [batch, n, …]: detections of each kind by score, then zeros."""
    arrays: dict[str, list[np.ndarray]] = {name: [] for name in NAMES}
    for detections in pictures:
        for name, array in zip(NAMES, _of_one(detections), strict=True):
            arrays[name].append(array)
    return {name: np.stack(values) for name, values in arrays.items()}


def texts(*written: str, confidence: float = 0.98) -> np.ndarray:
    """`board_texts` of one picture, float32 [1, 16, 7, 16]: seven characters for each board, `_` for nothing."""
    names = "0123456789ABCDE_"
    made = np.zeros((1, LISTED[0], 7, len(names)), np.float32)
    made[..., -1] = 1
    for board, text in enumerate(written):
        for place, character in enumerate(text):
            made[0, board, place] = (1 - confidence) / (len(names) - 1)
            made[0, board, place, names.index(character)] = confidence
    return made


def _of_one(detections: Sequence[PlaneDetection]) -> list[np.ndarray]:
    found = []
    for positions, first, count in zip(LISTED, FIRST, COUNTS, strict=True):
        boxes = np.zeros((positions, 4), np.float32)
        scores = np.zeros((positions, count), np.float32)
        turns = np.zeros((positions, 2), np.float32)
        mine = [detection for detection in detections if first <= CLASSES.index(detection.label) < first + count]
        for place, detection in enumerate(sorted(mine, key=lambda detection: -detection.score)[:positions]):
            boxes[place] = detection.box
            for label, score in ((detection.label, detection.score), *detection.others):
                scores[place, CLASSES.index(label) - first] = score
            turns[place] = np.cos(np.radians(detection.angle)), np.sin(np.radians(detection.angle))
        found += [boxes, scores, turns] if first == 0 else [boxes, scores]
    return found
