"""License plates in a reply: what a server says of one, and the same in another picture's pixels.

What was sent may be a smaller copy of the picture, or a part of it; what the user gets is in the picture's own pixels.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from shardline.wire.view import View

Box = tuple[float, float, float, float]  # left, top, right, bottom
Point = tuple[float, float]  # x to the right, y down

KINDS = ("regular", "long")
DEFAULT_THRESHOLD = 0.7  # the server's own

_DECIMALS = 2  # of a pixel: more of what was moved would only look exact


@dataclass(frozen=True, slots=True, kw_only=True)
class Plate:
    """One plate of a reply, in pixels of an upright picture.

    Attributes:
        kind: "regular" (two rows) or "long" (one).
        score: from 0 to 1.
        sub_text: the small group, such as "12A"; None where it cannot be read; `main_text`, the large one, likewise.
        missing: the parts that cannot be read, by the server's names.
        quad: its corners, clockwise from the text's upper left.
        width: along the plate's own direction; `height` across it.
        angle: degrees, clockwise.
        said: all that the server says of it, with keys that are unknown here.
    """

    kind: str
    score: float
    sub_text: str | None
    main_text: str | None
    missing: tuple[str, ...]
    box: Box
    quad: tuple[Point, ...]
    center: Point
    width: float
    height: float
    angle: float
    said: Mapping[str, Any]

    @property
    def whole(self) -> bool:
        """Whether everything on it was read."""
        return bool(self.sub_text and self.main_text and not self.missing)

    @property
    def text(self) -> str:
        """As a user writes it, with question marks for what cannot be read."""
        return f"{self.sub_text or '???'} {self.main_text or '????'}"


def read_plates(prediction: object) -> list[Plate] | None:
    """One picture's prediction -> its plates, in the reply's order; None if that is no reply of plates."""
    if not isinstance(prediction, list):
        return None
    plates = [_read(each) for each in prediction]
    return None if None in plates else [plate for plate in plates if plate]


def plates_in(predictions: Sequence[object]) -> list[Plate] | None:
    """Of a reply about one picture: its plates; None if they are of another task."""
    return read_plates(predictions[0]) if len(predictions) == 1 else None


def move(plate: Plate, view: View) -> Plate:
    """A plate in pixels of what was sent -> in pixels of the picture that `view` is a view of."""
    if (view.left, view.top, view.across, view.down) == (0, 0, 1, 1):
        return plate
    radians = math.radians(plate.angle)
    along = view.across * math.cos(radians), view.down * math.sin(radians)
    over = view.across * math.sin(radians), view.down * math.cos(radians)
    left, top, right, bottom = _rounded(view.to_picture([plate.box[:2], plate.box[2:]]).ravel())
    moved = replace(
        plate,
        box=(left, top, right, bottom),
        quad=tuple(_point(corner) for corner in view.to_picture(plate.quad)),
        center=_point(view.to_picture(plate.center)),
        width=round(plate.width * math.hypot(*along), _DECIMALS),
        height=round(plate.height * math.hypot(*over), _DECIMALS),
        angle=round(math.degrees(math.atan2(along[1], along[0])), _DECIMALS),
    )
    return replace(moved, said={**plate.said, **_to_say(moved)})


def _to_say(plate: Plate) -> dict[str, Any]:
    """Its places as JSON has them; only what the server said itself."""
    places = {
        "board_center_p": list(plate.center),
        "width": plate.width,
        "height": plate.height,
        "angle": plate.angle,
        "box": list(plate.box),
        "quad": [list(corner) for corner in plate.quad],
    }
    return {name: value for name, value in places.items() if plate.said.get(name) is not None}


def _read(said: object) -> Plate | None:
    """Strict in what makes it a plate, its type, score and box; the rest follows from the box where it is left out."""
    if not isinstance(said, dict) or said.get("type") not in KINDS:
        return None
    box, score = _numbers(said.get("box"), 4), _number(said.get("score"))
    if box is None or score is None:
        return None
    left, top, right, bottom = box
    quad = said.get("quad")
    corners = [_numbers(corner, 2) for corner in quad] if isinstance(quad, list) else []
    if len(corners) != 4 or None in corners:
        corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
    return Plate(
        kind=said["type"],
        score=score,
        sub_text=_text(said.get("sub_text")),
        main_text=_text(said.get("main_text")),
        missing=_names(said.get("missing")),
        box=(left, top, right, bottom),
        quad=tuple((x, y) for x, y in filter(None, corners)),
        center=_pair(_numbers(said.get("board_center_p"), 2) or ((left + right) / 2, (top + bottom) / 2)),
        width=_number(said.get("width")) or right - left,
        height=_number(said.get("height")) or bottom - top,
        angle=_number(said.get("angle")) or 0.0,
        said=said,
    )


def _number(value: object) -> float | None:
    usable = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if usable else None  # type: ignore[arg-type]


def _numbers(value: object, count: int) -> tuple[float, ...] | None:
    if not isinstance(value, list) or len(value) != count:
        return None
    numbers = tuple(number for each in value if (number := _number(each)) is not None)
    return numbers if len(numbers) == count else None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _names(value: object) -> tuple[str, ...]:
    return tuple(map(str, value)) if isinstance(value, list) else ()


def _pair(values: Sequence[float]) -> Point:
    return values[0], values[1]


def _point(values: Any) -> Point:
    return _pair(_rounded(values))


def _rounded(values: Any) -> list[float]:
    return [round(float(value), _DECIMALS) for value in np.asarray(values)]
