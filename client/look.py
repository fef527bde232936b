"""A second look at what is too small in the first: which parts of a picture are asked about, and what becomes of it.

A network's input is some 512 pixels wide however large the picture is: a plate of 150 pixels in a photograph of
4000 x 3000 comes out at 19, where no one can read it. But that there is a plate can still be seen. So:

1. The whole picture is asked about, with a low threshold. What comes back are sightings.
2. Each sighting that is not read whole, scores too low or is small in the network's input is a suspect. A square part
   of the picture around it, cut so that the plate gets 160 pixels wide in the input, is asked about alone.
3. Where readings overlap, the best one stays.

What comes out is what the server would say of the whole picture, but for plates that a closer look knows better.

With `tiles`, step 1 also asks about parts that overlap and cover the whole picture, for plates that are too small to be
suspected. Nothing here knows how parts are asked: the client sends them to a server, an evaluation runs a model.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from shardline.client.plates import Box, Plate, move
from shardline.wire.view import View

Size = tuple[int, int]  # width, height
Look = Literal["once", "twice", "tiles"]

LOOKS: tuple[Look, ...] = ("once", "twice", "tiles")
DEFAULT_LOOK: Look = "twice"
INPUT_SIDE = 512  # of the network, which replies do not tell: were it larger, some looks would be needless, none wrong
DEFAULT_CROPS = 8

_SUSPECT_SCORE = 0.02  # what is a sighting at all
_READABLE_PX = 96  # a plate's width in the network's input from which on readings are nearly always right
_CLOSE_PX = 160  # what a second look makes of it: sizes are roughly known only
_GAIN = 1.25  # how much larger a plate must get for another look
_ROOM = 1.5  # a part's side is at least so much of a plate's
_TILE_SIDE = 2 * INPUT_SIDE
_TILE_OVERLAP = INPUT_SIDE // 2  # what is larger has 32 pixels in a look at 4096, and is suspected there
_EDGE_PX = 1.0  # of the network's input: what comes so near to where a part was cut is cut itself
_ALIKE = 3.0  # how much wider than the other one sighting of a plate may be


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A rectangle of a picture, in its pixels; whole ones, and inside of it."""

    left: int
    top: int
    width: int
    height: int

    @property
    def size(self) -> Size:
        return self.width, self.height

    @property
    def scale(self) -> float:
        """Pixels of the network's input for one of the picture's."""
        return INPUT_SIDE / max(self.width, self.height)

    @property
    def box(self) -> tuple[int, int, int, int]:
        return self.left, self.top, self.left + self.width, self.top + self.height


Ask = Callable[[Sequence[Part], float], Sequence[Sequence[Plate]]]
"""Parts, and the least score -> the plates of each, in pixels of that part."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """A plate in pixels of the whole picture, and how large the network had it before it."""

    plate: Plate
    scale: float

    @property
    def width_px(self) -> float:
        """In the network's input."""
        return self.plate.width * self.scale


def find_plates(
    size: Size,
    ask: Ask,
    *,
    look: Look = DEFAULT_LOOK,
    threshold: float,
    crops: int = DEFAULT_CROPS,
    known: Sequence[Plate] | None = None,
) -> list[Plate]:
    """The plates of a picture that score at least `threshold`, best first, in its pixels.

    Args:
        size: of the picture, upright.
        ask: is called up to twice, with all parts that do not depend on each other's answers. At a low threshold it
            may say more of a plate, and score it lower for that.
        crops: the most parts that a second look takes.
        known: what was said of the whole picture at this threshold before; None: nothing.
    """
    whole = Part(left=0, top=0, width=size[0], height=size[1])
    if look == "once" or not is_large(size):
        return list(ask([whole], threshold)[0])
    parts = [whole, *(tiles(size) if look == "tiles" else ())]
    before = [Sighting(plate=plate, scale=whole.scale) for plate in known or ()]
    first = merge([*before, *_sightings(size, parts, ask(parts, min(threshold, _SUSPECT_SCORE)))], threshold)
    closer = plan_crops(size, first, threshold, crops)
    # of what was not read for sure, a closer look knows better; also that there is no plate
    kept = [each for each in first if _is_read(each, threshold) or not any(_shows(size, part, each) for part in closer)]
    # a server says as much of a plate as scores enough: what it said too much of is told again
    again = [whole] if known is None and any(_says_too_much(each.plate, threshold) for each in kept) else []
    parts = [*closer, *again]
    second = _sightings(size, parts, ask(parts, threshold)) if parts else []
    found = [each.plate for each in merge([*kept, *second], threshold)]
    return sorted((plate for plate in found if plate.score >= threshold), key=lambda plate: -plate.score)


def is_large(size: Size) -> bool:
    """Whether a part of the picture could show more than the whole did."""
    return max(size) > INPUT_SIDE


def tiles(size: Size) -> list[Part]:
    """Squares that cover a picture and overlap, row by row; none where the whole is hardly larger than one."""
    if max(size) <= _TILE_SIDE:
        return []
    width, height = min(_TILE_SIDE, size[0]), min(_TILE_SIDE, size[1])
    return [
        Part(left=left, top=top, width=width, height=height)
        for top in _starts(size[1], height)
        for left in _starts(size[0], width)
    ]


def plan_crops(size: Size, sightings: Sequence[Sighting], threshold: float, most: int) -> list[Part]:
    """The parts that are worth a second look, those of the highest scores first, at most `most`."""
    planned: list[Part] = []
    for sighting in sorted(sightings, key=lambda each: -each.plate.score):
        if len(planned) == most:
            break
        part = _around(size, sighting)
        suspect = not _is_read(sighting, threshold) or sighting.width_px < _READABLE_PX
        if suspect and _shows(size, part, sighting) and not any(_shows(size, other, sighting) for other in planned):
            planned.append(part)
    return planned


def merge(sightings: Sequence[Sighting], threshold: float) -> list[Sighting]:
    """One sighting for each plate: the best of those that overlap. Best first.

    Over the threshold is better than not, then read whole, then large enough to be read, then the score.
    """

    def rank(sighting: Sighting) -> tuple[bool, bool, bool, float]:
        plate = sighting.plate
        return plate.score >= threshold, plate.whole, sighting.width_px >= _READABLE_PX, plate.score

    kept: list[Sighting] = []
    for sighting in sorted(sightings, key=rank, reverse=True):
        if not any(_same(sighting.plate, other.plate) for other in kept):
            kept.append(sighting)
    return kept


def _sightings(size: Size, parts: Sequence[Part], replies: Sequence[Sequence[Plate]]) -> list[Sighting]:
    """What was seen in parts, in pixels of the whole; without what reaches over a part's edge inside of the picture."""
    found = []
    for part, plates in zip(parts, replies, strict=True):
        view = View(width=size[0], height=size[1], left=part.left, top=part.top)
        moved = (move(plate, view) for plate in plates)
        found += [Sighting(plate=plate, scale=part.scale) for plate in moved if not _is_cut(size, part, plate.box)]
    return found


def _is_read(sighting: Sighting, threshold: float) -> bool:
    return sighting.plate.whole and sighting.plate.score >= threshold


def _says_too_much(plate: Plate, threshold: float) -> bool:
    return plate.score < threshold and bool(plate.sub_text or plate.main_text)


def _is_cut(size: Size, part: Part, box: Box) -> bool:
    left, top, right, bottom = part.box
    edge = _EDGE_PX / part.scale
    return (
        (left > 0 and box[0] < left + edge)
        or (top > 0 and box[1] < top + edge)
        or (right < size[0] and box[2] > right - edge)
        or (bottom < size[1] and box[3] > bottom - edge)
    )


def _around(size: Size, sighting: Sighting) -> Part:
    """A square part with the plate in its middle, moved where the picture ends; no square where that is too thin."""
    plate = sighting.plate
    left, top, right, bottom = plate.box
    wanted = max(plate.width * INPUT_SIDE / _CLOSE_PX, _ROOM * (right - left), _ROOM * (bottom - top), 1)
    width, height = (min(math.ceil(wanted), side) for side in size)
    return Part(
        left=_start((left + right) / 2, width, size[0]),
        top=_start((top + bottom) / 2, height, size[1]),
        width=width,
        height=height,
    )


def _start(middle: float, length: int, most: int) -> int:
    return min(max(0, round(middle - length / 2)), most - length)


def _shows(size: Size, part: Part, sighting: Sighting) -> bool:
    """Whether a look at this part shows that plate whole, large enough, and larger than it was seen."""
    left, top, right, bottom = part.box
    box = sighting.plate.box
    inside = (
        (left <= box[0] or left == 0)
        and (top <= box[1] or top == 0)
        and (box[2] <= right or right == size[0])
        and (box[3] <= bottom or bottom == size[1])
    )
    larger = part.scale >= _GAIN * sighting.scale and sighting.plate.width * part.scale >= _READABLE_PX
    return inside and larger


def _same(one: Plate, other: Plate) -> bool:
    """Whether both are one plate: about as large, and the middle of one lies in the other.

    Boxes would not do: those of plates that hang askew overlap where the plates do not.
    """
    if max(one.width, other.width) > _ALIKE * min(one.width, other.width):
        return False
    right, down = other.center[0] - one.center[0], other.center[1] - one.center[1]
    radians = math.radians(one.angle)
    along = right * math.cos(radians) + down * math.sin(radians)
    over = down * math.cos(radians) - right * math.sin(radians)
    return abs(along) < max(one.width, other.width) / 2 and abs(over) < max(one.height, other.height) / 2


def _starts(side: int, tile: int) -> Iterator[int]:
    """Where tiles start along one side: as few as overlap enough, evenly."""
    if side <= tile:  # which may be no wider than the overlap
        yield 0
        return
    count = 1 + math.ceil((side - tile) / (tile - _TILE_OVERLAP))
    for index in range(count):
        yield round(index * (side - tile) / (count - 1))
