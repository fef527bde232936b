"""The worst misses, kept as small pictures: the wider a plate that was not read, the worse."""

import heapq
import io
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from training.evaluation.readings import Asked, Judged, Outcome, Prediction, text_of
from training.evaluation.sample import Points, Sample
from training.plates.marks import Box

_ROOM = 1.6  # what is shown is so much wider than the plate
_TILE_PX = (480, 320)  # of what is kept


@dataclass(frozen=True, slots=True, kw_only=True)
class Miss:
    """`pixels` uint8 [h, w, 3] show the plate and what is around it; the outlines are in pixels of these."""

    sample: str
    width_px: float  # of the plate in the network's input
    wanted: str  # "long 12A 3456", or "no plate"
    got: str
    pixels: NDArray[np.uint8]
    true_outline: Points | None
    found_outline: Points | None


@dataclass(slots=True, kw_only=True)
class Misses:
    """Keeps the `most` worst of all that are added."""

    most: int
    _heap: list[tuple[float, int, Miss]] = field(default_factory=list)
    _count: int = 0

    def add(self, sample: Sample, judged: Judged, scale: float) -> None:
        """One picture; `scale` is how many pixels of the network's input are one of the picture."""
        wrong = [each for each in judged.asked if each.outcome is not Outcome.RIGHT]
        for each in wrong:
            if self._is_among_worst(each.plate.width_px * scale):
                self._keep(_of_plate(sample, each, each.plate.width_px * scale))
        for prediction in judged.false:
            width_px = float(prediction["width"]) * scale
            if self._is_among_worst(width_px):
                self._keep(_of_false(sample, prediction, width_px))

    def worst_first(self) -> list[Miss]:
        return [miss for _, _, miss in sorted(self._heap, key=lambda each: (-each[0], each[1]))]

    def _is_among_worst(self, width_px: float) -> bool:
        return len(self._heap) < self.most or width_px > self._heap[0][0]

    def _keep(self, miss: Miss) -> None:
        self._count += 1
        put = heapq.heappush if len(self._heap) < self.most else heapq.heapreplace
        put(self._heap, (miss.width_px, self._count, miss))


def _of_plate(sample: Sample, asked: Asked, width_px: float) -> Miss:
    plate, found = asked.plate, asked.prediction
    return _miss(sample, plate.box, width_px, f"{plate.kind} {plate.text}", _said(found), plate.quad, found)


def _of_false(sample: Sample, found: Prediction, width_px: float) -> Miss:
    left, top, right, bottom = found["box"]
    return _miss(sample, (left, top, right, bottom), width_px, "no plate", _said(found), None, found)


def _said(found: Prediction | None) -> str:
    return "nothing" if found is None else f"{found.get('type')} {text_of(found)}, {float(found['score']):.2f}"


def _miss(
    sample: Sample, box: Box, width_px: float, wanted: str, got: str, true: Points | None, found: Prediction | None
) -> Miss:
    pixels, corner, zoom = _cut_out(sample.picture, box)
    return Miss(
        sample=sample.name,
        width_px=width_px,
        wanted=wanted,
        got=got,
        pixels=pixels,
        true_outline=None if true is None else _moved(true, corner, zoom),
        found_outline=None if found is None else _moved(found["quad"], corner, zoom),
    )


def _cut_out(picture: bytes, box: Box) -> tuple[NDArray[np.uint8], tuple[float, float], float]:
    """The box with what is around it, its upper left corner in the picture, and how much larger it is shown.

    All have one form; what lies outside of the picture is black.
    """
    with Image.open(io.BytesIO(picture)) as opened:
        image = ImageOps.exif_transpose(opened).convert("RGB")
    aspect = _TILE_PX[0] / _TILE_PX[1]
    width = _ROOM * max(box[2] - box[0], aspect * (box[3] - box[1]), 1)
    left, top = (box[0] + box[2] - width) / 2, (box[1] + box[3] - width / aspect) / 2
    part = image.transform(
        _TILE_PX,
        Image.Transform.EXTENT,
        (left, top, left + width, top + width / aspect),
        Image.Resampling.BICUBIC,
    )
    return np.asarray(part), (left, top), _TILE_PX[0] / width


def _moved(points: Points, corner: tuple[float, float], zoom: float) -> Points:
    return tuple(((x - corner[0]) * zoom, (y - corner[1]) * zoom) for x, y in points)
