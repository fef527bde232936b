"""Tiled inference: a second pass over crops of a picture, for license plates and objects too small in the first pass.

A network's input is 512 pixels wide however large the picture is: a plate of 150 pixels in a photograph of 4000 x 3000
is 19 pixels wide there, too few to be read. But they suffice to see that there is a plate. (The 512 are assumed, since
replies do not contain them: were the input larger, some requests would be needless and none wrong.) So:

1. The whole picture is sent with a low threshold. The reply gives candidates.
2. A candidate that is not read completely, scores too low, or is small in the network's input gets a closer crop: a
   square of the picture around it, chosen so that the plate is 160 pixels wide in the input. Each crop is sent alone.
3. Where detections overlap, the best one stays.

The result is what the server would reply about the whole picture, except for plates that a crop shows better.

With `tiles`, step 1 also sends overlapping squares that cover the whole picture, for plates that are too small to
become candidates. How a picture is predicted is passed in: the client sends it to a server, an evaluation runs a model
in the same process:

    find_plates_in(picture, size, lambda data, score: read_plates(predict(data, score)) or [], threshold=0.7)

Objects of other detectors are found in the whole picture, and if wanted in the same squares (`find_objects_in`).
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from PIL import Image

from shardline.client.boxes import DetectedObject, merge_boxes, move_object
from shardline.client.pictures import encode_jpeg, open_upright
from shardline.client.plates import Box, Plate, move
from shardline.client.waiting import in_order
from shardline.wire.limits import PLATE_INPUT_SIDE
from shardline.wire.picture import Size
from shardline.wire.view import View

Tiling = Literal["once", "twice", "tiles"]

TILINGS: tuple[Tiling, ...] = ("once", "twice", "tiles")
DEFAULT_TILING: Tiling = "twice"
DEFAULT_CROPS = 8

_CANDIDATE_SCORE = 0.02  # threshold of the first pass
_READABLE_PX = 96  # width of a plate in the network's input from which on readings are nearly always right
_CLOSE_PX = 160  # width of a plate in the input of a crop: sizes are known only roughly
_GAIN = 1.25  # how much larger a plate must become to be worth a crop
_MARGIN = 1.5  # a crop's side is at least this multiple of the plate's
_TILE_SIDE = 2 * PLATE_INPUT_SIDE
_TILE_OVERLAP = PLATE_INPUT_SIDE // 2  # a larger plate is a candidate of the first pass: at 4096, 32 pixels wide
_EDGE_PX = 1.0  # in the network's input: a box this close to the edge of a crop is cut off by it
_ALIKE = 3.0  # how much wider than another detection of the same plate one may be
_CROP_SIDE = 2 * PLATE_INPUT_SIDE  # of a crop as it is sent: a network would not see more of it


@dataclass(frozen=True, slots=True, kw_only=True)
class Crop:
    """A rectangle of a picture in whole pixels, inside the picture."""

    left: int
    top: int
    width: int
    height: int

    @property
    def size(self) -> Size:
        return self.width, self.height

    @property
    def scale(self) -> float:
        """Pixels of the network's input per pixel of the picture."""
        return PLATE_INPUT_SIDE / max(self.width, self.height)

    @property
    def box(self) -> tuple[int, int, int, int]:
        return self.left, self.top, self.left + self.width, self.top + self.height


@dataclass(frozen=True, slots=True, kw_only=True)
class Detection:
    """A plate in pixels of the whole picture, and the scale at which the network saw it."""

    plate: Plate
    scale: float

    @property
    def width_px(self) -> float:
        """Width of the plate in the network's input."""
        return self.plate.width * self.scale


PredictCrops = Callable[[Sequence[Crop], float], Sequence[Sequence[Plate]]]
"""Predict crops with a threshold: the plates of each, in pixels of that crop."""

PredictPicture = Callable[[bytes, float], Sequence[Plate]]
"""Predict an encoded picture with a threshold: its plates, in its own pixels, upright."""


def find_plates_in(
    picture: bytes,
    size: Size,
    predict: PredictPicture,
    *,
    tiling: Tiling = DEFAULT_TILING,
    threshold: float,
    crops: int = DEFAULT_CROPS,
    jobs: int = 1,
    known: Sequence[Plate] | None = None,
) -> list[Plate]:
    """Find the plates of an encoded picture as `find_plates` does; `predict` is called in `jobs` threads.

    Where plates are `known` already (None: nothing yet), only a small copy is sent when the whole is predicted again.

    Raises:
        PictureError: the picture cannot be decoded here.
        ShardlineError: what `predict` raises.
    """
    source = _CropSource(picture)

    def is_whole(crop: Crop) -> bool:
        return crop.size == size and known is None

    def predict_crops(wanted: Sequence[Crop], score: float) -> list[Sequence[Plate]]:
        def predict_crop(crop: Crop) -> Sequence[Plate]:
            if is_whole(crop):
                return predict(picture, score)
            data, sent = source.encode(crop)
            view = View(width=crop.width, height=crop.height, across=crop.width / sent[0], down=crop.height / sent[1])
            return [move(plate, view) for plate in predict(data, score)]

        if not all(map(is_whole, wanted)):
            source.decode()
        return list(in_order(predict_crop, wanted, jobs))

    return find_plates(size, predict_crops, tiling=tiling, threshold=threshold, crops=crops, known=known)


def find_objects_in(
    picture: bytes,
    size: Size,
    predict: Callable[[bytes], Sequence[DetectedObject]],
    *,
    whole: Sequence[DetectedObject],
    jobs: int = 1,
) -> list[DetectedObject]:
    """Find objects in tiles of an encoded picture, merged by NMS with those of the whole, highest score first.

    Objects that the edge of a tile cuts off are left to the neighbouring tile, or to the whole.

    Args:
        size: width and height of the upright picture.
        predict: predicts an encoded tile: its objects, in its own pixels; called in `jobs` threads.
        whole: the objects of the whole picture.

    Raises:
        PictureError: the picture cannot be decoded here.
        ShardlineError: what `predict` raises.
    """
    squares = tiles(size)
    if not squares:
        return list(whole)
    source = _CropSource(picture)
    source.decode()

    def predict_tile(tile: Crop) -> list[DetectedObject]:
        data, sent = source.encode(tile)
        view = View(
            width=size[0], height=size[1], left=tile.left, top=tile.top,
            across=tile.width / sent[0], down=tile.height / sent[1],
        )  # fmt: skip
        found = [move_object(item, view) for item in predict(data)]
        return [item for item in found if not _is_cut_off(size, tile, item.box)]

    found = [item for items in in_order(predict_tile, squares, jobs) for item in items]
    return merge_boxes([*whole, *found])


class _CropSource:
    """A picture that is decoded when its first crop is wanted, and only then."""

    def __init__(self, picture: bytes) -> None:
        self._picture = picture

    def decode(self) -> None:
        """Decode the picture before threads share it."""
        _ = self._image

    def encode(self, crop: Crop) -> tuple[bytes, Size]:
        """A crop as a JPEG file, made smaller where it is large, and its size in that file."""
        cropped = self._image.crop(crop.box)
        cropped.thumbnail((_CROP_SIDE, _CROP_SIDE), Image.Resampling.LANCZOS)
        return encode_jpeg(cropped, subsampling=0), cropped.size

    @cached_property
    def _image(self) -> Image.Image:
        return open_upright(self._picture)


def find_plates(
    size: Size,
    predict: PredictCrops,
    *,
    tiling: Tiling = DEFAULT_TILING,
    threshold: float,
    crops: int = DEFAULT_CROPS,
    known: Sequence[Plate] | None = None,
) -> list[Plate]:
    """Find the plates of a picture that score at least `threshold`, highest score first, in its pixels.

    Args:
        size: width and height of the upright picture.
        predict: called up to twice, each time with all crops that do not depend on each other's results. At a low
            threshold it may report more text of a plate and score the plate lower for that.
        crops: the most crops of the second pass.
        known: the plates of the whole picture at this threshold, if they were predicted before; None: they were not.
    """
    whole = Crop(left=0, top=0, width=size[0], height=size[1])
    if tiling == "once" or not is_large(size):
        return list(predict([whole], threshold)[0])
    first_crops = [whole, *(tiles(size) if tiling == "tiles" else ())]
    before = [Detection(plate=plate, scale=whole.scale) for plate in known or ()]
    replies = predict(first_crops, min(threshold, _CANDIDATE_SCORE))
    first = merge([*before, *_detections(size, first_crops, replies)], threshold)
    closer = plan_crops(size, first, threshold, crops)
    # for a plate that was not read completely the closer crop decides, even if it shows that there is no plate
    kept = [
        detection
        for detection in first
        if _is_read(detection, threshold) or not any(_shows(size, crop, detection) for crop in closer)
    ]
    # at the low threshold a server reports text that it would not report at `threshold`: predict the whole once more
    doubtful = known is None and any(_has_doubtful_text(detection.plate, threshold) for detection in kept)
    second_crops = [*closer, *([whole] if doubtful else [])]
    second = _detections(size, second_crops, predict(second_crops, threshold)) if second_crops else []
    found = [detection.plate for detection in merge([*kept, *second], threshold)]
    return sorted((plate for plate in found if plate.score >= threshold), key=lambda plate: -plate.score)


def is_large(size: Size) -> bool:
    """Tell whether a crop of the picture could show more than the whole."""
    return max(size) > PLATE_INPUT_SIDE


def tiles(size: Size) -> list[Crop]:
    """Overlapping squares that cover a picture, row by row; none if the whole is hardly larger than one."""
    if max(size) <= _TILE_SIDE:
        return []
    width, height = min(_TILE_SIDE, size[0]), min(_TILE_SIDE, size[1])
    return [
        Crop(left=left, top=top, width=width, height=height)
        for top in _tile_starts(size[1], height)
        for left in _tile_starts(size[0], width)
    ]


def plan_crops(size: Size, detections: Sequence[Detection], threshold: float, limit: int) -> list[Crop]:
    """Choose the crops of the second pass, for the highest scores first, at most `limit`."""
    planned: list[Crop] = []
    for detection in sorted(detections, key=lambda detection: -detection.plate.score):
        if len(planned) == limit:
            break
        crop = _crop_around(size, detection)
        doubtful = not _is_read(detection, threshold) or detection.width_px < _READABLE_PX
        covered = any(_shows(size, chosen, detection) for chosen in planned)
        if doubtful and _shows(size, crop, detection) and not covered:
            planned.append(crop)
    return planned


def merge(detections: Sequence[Detection], threshold: float) -> list[Detection]:
    """Keep one detection of each plate: the best of those that overlap. Best first.

    A detection over the threshold is better than one below; then one that is read completely, then one that is large
    enough to be read, then the higher score.
    """

    def rank(detection: Detection) -> tuple[bool, bool, bool, float]:
        plate = detection.plate
        return plate.score >= threshold, plate.whole, detection.width_px >= _READABLE_PX, plate.score

    kept: list[Detection] = []
    for detection in sorted(detections, key=rank, reverse=True):
        if not any(_is_same_plate(detection.plate, better.plate) for better in kept):
            kept.append(detection)
    return kept


def _detections(size: Size, crops: Sequence[Crop], replies: Sequence[Sequence[Plate]]) -> list[Detection]:
    """The plates of all crops in pixels of the whole; without those that the edge of a crop cuts off."""
    found = []
    for crop, plates in zip(crops, replies, strict=True):
        view = View(width=size[0], height=size[1], left=crop.left, top=crop.top)
        moved = (move(plate, view) for plate in plates)
        found += [Detection(plate=plate, scale=crop.scale) for plate in moved if not _is_cut_off(size, crop, plate.box)]
    return found


def _is_read(detection: Detection, threshold: float) -> bool:
    return detection.plate.whole and detection.plate.score >= threshold


def _has_doubtful_text(plate: Plate, threshold: float) -> bool:
    return plate.score < threshold and any(plate.groups.values())


def _is_cut_off(size: Size, crop: Crop, box: Box) -> bool:
    """Tell whether a box reaches an edge of the crop that is not an edge of the picture."""
    left, top, right, bottom = crop.box
    edge = _EDGE_PX / crop.scale
    return (
        (left > 0 and box[0] < left + edge)
        or (top > 0 and box[1] < top + edge)
        or (right < size[0] and box[2] > right - edge)
        or (bottom < size[1] and box[3] > bottom - edge)
    )


def _crop_around(size: Size, detection: Detection) -> Crop:
    """A square crop centred on the plate, moved into the picture; a rectangle where the picture is too thin."""
    plate = detection.plate
    left, top, right, bottom = plate.box
    wanted = max(plate.width * PLATE_INPUT_SIDE / _CLOSE_PX, _MARGIN * (right - left), _MARGIN * (bottom - top), 1)
    width, height = (min(math.ceil(wanted), side) for side in size)
    return Crop(
        left=_crop_start((left + right) / 2, width, size[0]),
        top=_crop_start((top + bottom) / 2, height, size[1]),
        width=width,
        height=height,
    )


def _crop_start(middle: float, length: int, side: int) -> int:
    return min(max(0, round(middle - length / 2)), side - length)


def _shows(size: Size, crop: Crop, detection: Detection) -> bool:
    """Tell whether this crop shows that plate completely, large enough, and larger than it was seen."""
    left, top, right, bottom = crop.box
    box = detection.plate.box
    inside = (
        (left <= box[0] or left == 0)
        and (top <= box[1] or top == 0)
        and (box[2] <= right or right == size[0])
        and (box[3] <= bottom or bottom == size[1])
    )
    larger = crop.scale >= _GAIN * detection.scale and detection.plate.width * crop.scale >= _READABLE_PX
    return inside and larger


def _is_same_plate(first: Plate, second: Plate) -> bool:
    """Tell whether two detections are of one plate: about as large, and the centre of one lies in the other.

    Overlapping boxes would not do: the boxes of tilted plates overlap where the plates do not.
    """
    if max(first.width, second.width) > _ALIKE * min(first.width, second.width):
        return False
    right, down = second.center[0] - first.center[0], second.center[1] - first.center[1]
    radians = math.radians(first.angle)
    along = right * math.cos(radians) + down * math.sin(radians)
    across = down * math.cos(radians) - right * math.sin(radians)
    return abs(along) < max(first.width, second.width) / 2 and abs(across) < max(first.height, second.height) / 2


def _tile_starts(side: int, tile: int) -> Iterator[int]:
    """Positions of tiles along one side, evenly spaced: as few as overlap enough."""
    if side <= tile:  # which may be no wider than the overlap
        yield 0
        return
    count = 1 + math.ceil((side - tile) / (tile - _TILE_OVERLAP))
    for index in range(count):
        yield round(index * (side - tile) / (count - 1))
