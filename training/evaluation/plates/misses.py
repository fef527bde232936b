"""The worst misses, kept as small pictures: the wider a plate that was not read, the worse."""

import io
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from shardline.training.evaluation.plates.readings import Asked, Judged, Outcome, Prediction, text_of
from shardline.training.evaluation.plates.sample import Sample
from shardline.training.evaluation.worst import Points, Worst
from shardline.training.plates.geometry import Box

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


@dataclass(frozen=True, slots=True)
class Misses:
    """Puts what went wrong with pictures among the worst."""

    worst: Worst[Miss]

    def add(self, sample: Sample, judged: Judged, scale: float) -> None:
        """One picture; `scale` is how many pixels of the network's input are one of the picture."""
        for each in judged.asked:
            if each.outcome is not Outcome.RIGHT:
                width_px = each.plate.width_px * scale
                self.worst.add(width_px, partial(_of_plate, sample, each, width_px))
        for prediction in judged.false:
            width_px = float(prediction["width"]) * scale
            self.worst.add(width_px, partial(_of_false, sample, prediction, width_px))


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
