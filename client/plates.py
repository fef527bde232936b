"""License plates in a reply, and their positions in the pixels of another picture.

A request may hold a smaller copy or a crop of the user's picture; the user gets positions in the picture's own pixels.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from shardline.wire.view import View

Box = tuple[float, float, float, float]  # left, top, right, bottom
Point = tuple[float, float]  # x to the right, y down

UNREAD = {"sub_text": "???", "main_text": "????"}  # of the built-in grammar; of another one a group's length is unknown

# keys of a reported plate that are no groups of characters
_OTHER_KEYS = (
    *("type", "board_center_p", "width", "height", "angle", "score", "box", "quad"),
    *("missing", "candidates", "characters", "probability", "known", "known_near"),
)
_DECIMALS = 2  # of a pixel: more decimals of a moved position would only look exact


@dataclass(frozen=True, slots=True, kw_only=True)
class PlateReading:
    """One of the most likely readings of a plate, and its probability from 0 to 1."""

    groups: Mapping[str, str | None]
    probability: float

    @property
    def text(self) -> str:
        """Text as users write it, with question marks for a group that cannot be read."""
        return join_groups(self.groups)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plate:
    """One plate of a reply, in pixels of an upright picture.

    Attributes:
        kind: "regular" (two rows), "long" (one), or a type of another grammar.
        score: from 0 to 1.
        groups: text of each group of characters by the server's name for it, in reading order; None: not read.
        missing: the groups that cannot be read, by the server's names.
        quad: its four corners, clockwise from the text's upper left.
        width: length along the plate's own direction; `height` is the length across it.
        angle: degrees, clockwise.
        candidates: the most likely readings, if the server reports them.
        characters: each character of the text with its score, if the server reports them; None: not read.
        reported: the plate as the server reported it, with keys that are unknown here.
    """

    kind: str
    score: float
    groups: Mapping[str, str | None]
    missing: tuple[str, ...]
    box: Box
    quad: tuple[Point, ...]
    center: Point
    width: float
    height: float
    angle: float
    candidates: tuple[PlateReading, ...]
    characters: tuple[tuple[str | None, float], ...]
    reported: Mapping[str, Any]

    @property
    def whole(self) -> bool:
        """Tell whether all of its text was read."""
        return bool(self.groups) and None not in self.groups.values() and not self.missing

    @property
    def text(self) -> str:
        """Text as users write it, with question marks for a group that cannot be read."""
        return join_groups(self.written)

    @property
    def written(self) -> dict[str, str]:
        """Text of each group, with a question mark for each character of one that cannot be read."""
        likely = self.candidates[0].groups if self.candidates else {}
        return {
            name: text or "?" * len(likely.get(name) or UNREAD.get(name, "?")) for name, text in self.groups.items()
        }


def join_groups(groups: Mapping[str, str | None]) -> str:
    """Text of a plate from its groups in reading order, with question marks for a group that cannot be read."""
    return " ".join(text or UNREAD.get(name, "?") for name, text in groups.items()) or "?"


def read_plates(prediction: object) -> list[Plate] | None:
    """Read one picture's prediction as plates, in the reply's order; None if it is another task's."""
    if not isinstance(prediction, list):
        return None
    plates = [_read(item) for item in prediction]
    return None if None in plates else [plate for plate in plates if plate]


def plates_in(predictions: Sequence[object]) -> list[Plate] | None:
    """Plates in the predictions about one picture; None if they are another task's."""
    return read_plates(predictions[0]) if len(predictions) == 1 else None


def known_text(reported: Mapping[str, Any]) -> str | None:
    """The known plate of a reported plate as a line of text (shardline.client.known adds it); None without a list."""
    if "known" not in reported:
        return None
    known, near = reported["known"], reported.get("known_near")
    if known is None:
        return "no known plate" + (f": {' and '.join(near)} are equally near" if near else "")
    probability = known.get("probability")
    return f"known: {known['plate']}  distance {known['distance']:g}" + (
        "" if probability is None else f"  probability {probability:.1%}"
    )


def move(plate: Plate, view: View) -> Plate:
    """Move a plate from the pixels of the picture that was sent to those of the picture that `view` is a view of."""
    if (view.left, view.top, view.across, view.down) == (0, 0, 1, 1):
        return plate
    radians = math.radians(plate.angle)
    along = view.across * math.cos(radians), view.down * math.sin(radians)
    across = view.across * math.sin(radians), view.down * math.cos(radians)
    left, top, right, bottom = _rounded(view.to_picture([plate.box[:2], plate.box[2:]]).ravel())
    moved = replace(
        plate,
        box=(left, top, right, bottom),
        quad=tuple(_point(corner) for corner in view.to_picture(plate.quad)),
        center=_point(view.to_picture(plate.center)),
        width=round(plate.width * math.hypot(*along), _DECIMALS),
        height=round(plate.height * math.hypot(*across), _DECIMALS),
        angle=round(math.degrees(math.atan2(along[1], along[0])), _DECIMALS),
    )
    return replace(moved, reported={**plate.reported, **_positions(moved)})


def _positions(plate: Plate) -> dict[str, Any]:
    """Positions and sizes as JSON; only those that the server reported."""
    positions = {
        "board_center_p": list(plate.center),
        "width": plate.width,
        "height": plate.height,
        "angle": plate.angle,
        "box": list(plate.box),
        "quad": [list(corner) for corner in plate.quad],
    }
    return {name: value for name, value in positions.items() if plate.reported.get(name) is not None}


def _read(reported: object) -> Plate | None:
    """Read one plate: type, score and box are required, the rest follows from the box where it is missing."""
    if not isinstance(reported, dict) or not isinstance(reported.get("type"), str):
        return None
    box, score = _numbers(reported.get("box"), 4), _number(reported.get("score"))
    if box is None or score is None:
        return None
    left, top, right, bottom = box
    quad = reported.get("quad")
    corners = [_numbers(corner, 2) for corner in quad] if isinstance(quad, list) else []
    if len(corners) != 4 or None in corners:
        corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
    return Plate(
        kind=reported["type"],
        score=score,
        groups=_groups(reported),
        missing=_names(reported.get("missing")),
        box=(left, top, right, bottom),
        quad=tuple((x, y) for x, y in filter(None, corners)),
        center=_pair(_numbers(reported.get("board_center_p"), 2) or ((left + right) / 2, (top + bottom) / 2)),
        width=_number(reported.get("width")) or right - left,
        height=_number(reported.get("height")) or bottom - top,
        angle=_number(reported.get("angle")) or 0.0,
        candidates=_candidates(reported.get("candidates")),
        characters=_characters(reported.get("characters")),
        reported=reported,
    )


def _groups(reported: Mapping[str, Any]) -> dict[str, str | None]:
    """The groups of characters in the reply's order, which is that of reading; those that are missing are last."""
    found = {
        name: value or None
        for name, value in reported.items()
        if name not in _OTHER_KEYS and (value is None or isinstance(value, str))
    }
    return {**found, **{name: None for name in UNREAD if found.keys() < UNREAD.keys() and name not in found}}


def _candidates(value: object) -> tuple[PlateReading, ...]:
    items = value if isinstance(value, list) else []
    return tuple(
        PlateReading(groups=_groups(item), probability=probability)
        for item in items
        if isinstance(item, dict) and (probability := _number(item.get("probability"))) is not None
    )


def _characters(value: object) -> tuple[tuple[str | None, float], ...]:
    items = value if isinstance(value, list) else []
    return tuple(
        (_text(item.get("character")), score)
        for item in items
        if isinstance(item, dict) and (score := _number(item.get("score"))) is not None
    )


def _number(value: object) -> float | None:
    usable = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if usable else None  # type: ignore[arg-type]


def _numbers(value: object, count: int) -> tuple[float, ...] | None:
    if not isinstance(value, list) or len(value) != count:
        return None
    numbers = tuple(number for item in value if (number := _number(item)) is not None)
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
