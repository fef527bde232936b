"""Crops of pictures around a box, for the contact sheet of an evaluation's worst mistakes."""

import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from shardline.training.evaluation.coco import Box

_MARGIN = 1.6  # width of a crop relative to the box
_SIZE_PX = (480, 320)


def crop_around(picture: bytes, box: Box) -> tuple[NDArray[np.uint8], tuple[float, float], float]:
    """Crop the box with what is around it.

    All crops have one size; what lies outside of the picture is black.

    Returns:
        The pixels, uint8 [height, width, 3], the crop's upper left corner in the picture, and its magnification.
    """
    with Image.open(io.BytesIO(picture)) as opened:
        image = ImageOps.exif_transpose(opened).convert("RGB")
    aspect = _SIZE_PX[0] / _SIZE_PX[1]
    width = _MARGIN * max(box[2] - box[0], aspect * (box[3] - box[1]), 1)
    left, top = (box[0] + box[2] - width) / 2, (box[1] + box[3] - width / aspect) / 2
    crop = image.transform(
        _SIZE_PX,
        Image.Transform.EXTENT,
        (left, top, left + width, top + width / aspect),
        Image.Resampling.BICUBIC,
    )
    return np.asarray(crop), (left, top), _SIZE_PX[0] / width


def moved_outline(
    points: Sequence[tuple[float, float]], corner: tuple[float, float], zoom: float
) -> tuple[tuple[float, float], ...]:
    """Move points of the picture into the coordinates of a crop."""
    return tuple(((x - corner[0]) * zoom, (y - corner[1]) * zoom) for x, y in points)
