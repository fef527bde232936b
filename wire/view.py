"""How pixels of a network's input map to the picture that was sent.

Places are continuous: pixel 0 reaches from 0 to 1, and (0, 0) is the upper left corner of a picture. The picture is
upright: turned as its EXIF says, as everyone who looks at it has it before them.
"""

import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from shardline.wire.errors import FrameError

_MOST = 2**53  # the same in every language's JSON, and far from overflowing when multiplied


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """One instance's picture as the network sees it: cropped, stretched or letter-boxed, all by these six numbers.

    The place (x, y) of the network's input is (left + across * x, top + down * y) of the picture that was sent. So
    `left` and `top` are where the input's own corner lies, outside of the picture where it was letter-boxed.

    Attributes:
        width: of the upright picture that was sent, in its pixels; so is `height`.
        left: in pixels of the picture; so is `top`.
        across: pixels of the picture for one of the network's, sideways; `down` likewise.

    Raises:
        FrameError: a size that is no whole number from 1, a number that is not finite, a scale that is not above 0.
    """

    width: int
    height: int
    left: float = 0.0
    top: float = 0.0
    across: float = 1.0
    down: float = 1.0

    def __post_init__(self) -> None:
        for name in ("width", "height"):
            _check(name, getattr(self, name), whole=True, least=1)
        for name in ("left", "top"):
            _check(name, getattr(self, name), least=-_MOST)
        for name in ("across", "down"):
            _check(name, getattr(self, name), least=1 / _MOST)

    def to_picture(self, places: ArrayLike) -> NDArray[np.float64]:
        """Places of the network's input, [..., 2] (x, y) -> of the picture that was sent, float64 [..., 2]."""
        moved: NDArray[np.float64] = np.asarray(places, np.float64) * (self.across, self.down) + (self.left, self.top)
        return moved

    def to_network(self, places: ArrayLike) -> NDArray[np.float64]:
        """The way back: places of the picture, [..., 2] -> of the network's input."""
        moved: NDArray[np.float64] = (np.asarray(places, np.float64) - (self.left, self.top)) / (self.across, self.down)
        return moved


FIELDS = tuple(field.name for field in fields(View))


def placed_view(picture: tuple[int, int], resized: tuple[int, int], at: tuple[int, int]) -> View:
    """The view of a picture that was resized, and then laid with its corner at a place of the network's input.

    Args:
        picture: width and height in pixels as it was sent, upright.
        resized: likewise after resizing, rounded to whole pixels as they are: the two scales may differ a little.
        at: x and y; below 0 where it was cropped.
    """
    across, down = picture[0] / resized[0], picture[1] / resized[1]
    return View(
        width=picture[0],
        height=picture[1],
        left=(0 - at[0]) * across,
        top=(0 - at[1]) * down,
        across=across,
        down=down,
    )


def to_columns(views: Sequence[View]) -> dict[str, list[float]]:
    """As a frame's metadata carry them: each field's values, one an instance."""
    return {name: [getattr(view, name) for view in views] for name in FIELDS}


def from_columns(columns: Mapping[str, Any]) -> tuple[View, ...]:
    """The way back, from parsed JSON.

    Raises:
        FrameError: other fields, columns that are no lists or not of one length, or what `View` refuses.
    """
    if columns.keys() != set(FIELDS) or not all(isinstance(column, list) for column in columns.values()):
        raise _bad(reprlib.repr(columns), f"a list of numbers for each of {', '.join(FIELDS)}")
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) != 1:
        raise _bad(f"of the lengths {lengths}", "one number an instance in each list")
    rows = zip(*(columns[name] for name in FIELDS), strict=True)
    return tuple(View(**dict(zip(FIELDS, row, strict=True))) for row in rows)


def _check(name: str, value: object, *, least: float, whole: bool = False) -> None:
    number = isinstance(value, int if whole else int | float) and not isinstance(value, bool)
    if not number or not least <= value <= _MOST:  # type: ignore[operator]
        raise _bad(f"with {name} {reprlib.repr(value)}", f"{'a whole number' if whole else 'a number'} from {least:g}")


def _bad(found: str, allowed: str) -> FrameError:
    return FrameError(f"a frame has views {found}; allowed: {allowed}; send what docs/frame.md describes")
