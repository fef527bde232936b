"""A plate detector with known predictions: outputs made from the ground truth, with given mistakes."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shardline.tasks.plates.grammar import built_in
from shardline.tasks.plates.task import read_plates
from shardline.training.evaluation.coco import TrueObject
from shardline.training.evaluation.plates.pictures import PlatePicture, TruePlate
from shardline.training.evaluation.plates.readings import RawPlate
from shardline.training.evaluation.plates.sources import PlatePrediction
from shardline.training.plates.geometry import Box
from shardline.wire.view import View

CLASSES = built_in().classes

NAMES = (
    "board_boxes", "board_scores", "board_turns", "group_boxes", "group_scores", "character_boxes", "character_scores",
)  # fmt: skip
_KINDS = (("board", 0, 2, 16), ("group", 2, 4, 32), ("character", 6, 15, 128))  # first class, classes, places
_SURE = 0.95

Scored = tuple[TrueObject, float]


def outputs(
    scored: Iterable[Scored], view: View, angles: Mapping[Box, float] | None = None
) -> dict[str, NDArray[np.float32]]:
    """A detector's outputs for a batch of one; `angles` in degrees by a board's box, 0 where none is given."""
    ordered = sorted(scored, key=lambda each: -each[1])
    made: dict[str, NDArray[np.float32]] = {}
    for kind, first, classes, places in _KINDS:
        boxes, scores = np.zeros((1, places, 4), np.float32), np.zeros((1, places, classes), np.float32)
        mine = [each for each in ordered if first <= each[0].label < first + classes]
        for place, (thing, score) in enumerate(mine):
            boxes[0, place] = view.to_network(np.reshape(thing.box, (2, 2))).ravel()
            scores[0, place, thing.label - first] = score
        made |= {f"{kind}_boxes": boxes, f"{kind}_scores": scores}
    boards = [each for each, _ in ordered if each.label < 2]
    radians = np.zeros(16)
    radians[: len(boards)] = np.radians([(angles or {}).get(each.box, 0.0) for each in boards])
    made["board_turns"] = np.stack((np.cos(radians), np.sin(radians)), axis=1).astype(np.float32)[None]
    return {name: made[name] for name in NAMES}


def sure(sample: PlatePicture) -> list[Scored]:
    """All recognisable objects, with a high score."""
    return [(thing, _SURE) for thing in sample.objects if not thing.crowd]


def reply(plate: TruePlate, score: float = _SURE, **changes: Any) -> RawPlate:
    """The raw prediction that is right for a plate, with `changes`."""
    small, main = plate.text.split()
    left, top, right, bottom = plate.box
    said = {
        "type": plate.kind,
        "sub_text": small,
        "main_text": main,
        "score": score,
        "box": [left, top, right, bottom],
        "quad": [list(point) for point in plate.quad],
        "width": plate.width_px,
        "height": bottom - top,
        "angle": plate.angle_deg,
        "board_center_p": [(left + right) / 2, (top + bottom) / 2],
    }
    return {**said, **changes}


class Knowing:
    """A source for these pictures only. With `says` None the boxes are read by the code of the last shard."""

    def __init__(
        self,
        samples: Iterable[PlatePicture],
        *,
        name: str = "perfect",
        boxes: Callable[[PlatePicture], list[Scored]] | None = sure,
        says: Callable[[PlatePicture], list[RawPlate]] | None = None,
    ) -> None:
        self.name = name
        self._samples = {sample.picture: sample for sample in samples}
        self._boxes = boxes
        self._says = says

    def predict(self, picture: bytes, threshold: float) -> PlatePrediction:
        sample = self._samples[picture]
        view = View(width=sample.size[0], height=sample.size[1])
        angles = {plate.box: plate.angle_deg for plate in sample.plates}
        made = None if self._boxes is None else outputs(self._boxes(sample), view, angles)
        said = read_plates(made, view, threshold) if made and self._says is None else (self._says or all_plates)(sample)
        return PlatePrediction(view=view, outputs=made, plates=said, unsure=said)


def all_plates(sample: PlatePicture) -> list[RawPlate]:
    return [reply(plate) for plate in sample.plates]


def thing(label: str, left: float, top: float, side: float = 10, *, crowd: bool = False) -> TrueObject:
    return TrueObject(label=CLASSES.index(label), box=(left, top, left + side, top + side), crowd=crowd)


def plate(left: float = 0, width: float = 100, *, readable: bool = True, **changes: Any) -> TruePlate:
    """A plate 30 pixels high, at y = 10."""
    fields = {"kind": "long", "text": "12A 3456", "angle_deg": 0.0, "font": "one", **changes}
    texts = dict(zip(("sub_text", "main_text"), fields["text"].split(), strict=True))
    box = (left, 10.0, left + width, 40.0)
    corners = ((left, 10.0), (left + width, 10.0), (left + width, 40.0), (left, 40.0))
    return TruePlate(readable=readable, texts=texts, box=box, quad=corners, width_px=width, **fields)
