"""Mapping between pixels of the network's input and the picture that was sent.

Positions are continuous: pixel 0 reaches from 0 to 1, and (0, 0) is the upper left corner of a picture. The picture is
upright, that is, turned by its EXIF orientation.
"""

import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from shardline.wire.errors import FrameError

_MOST = 2**53  # exact in every language's JSON, and far from overflowing when multiplied


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """One picture's mapping, whether it was cropped, stretched or letterboxed.

    The position (x, y) in the network's input is (left + across * x, top + down * y) in the picture that was sent. So
    `left` and `top` are the position of the input's upper left corner, outside of the picture if it was letterboxed.

    Attributes:
        width: of the upright picture that was sent, in pixels.
        height: of the same picture.
        left: in pixels of the picture.
        top: in pixels of the picture.
        across: horizontal pixels of the picture for one pixel of the input.
        down: vertical pixels of the picture for one pixel of the input.

    Raises:
        FrameError: a size that is not a whole number from 1, a number that is not finite, a scale that is not above 0.
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

    def to_picture(self, points: ArrayLike) -> NDArray[np.float64]:
        """Map points (x, y) of the network's input, float [..., 2], to the picture that was sent, float64 [..., 2]."""
        moved: NDArray[np.float64] = np.asarray(points, np.float64) * (self.across, self.down) + (self.left, self.top)
        return moved

    def to_network(self, points: ArrayLike) -> NDArray[np.float64]:
        """Map points (x, y) of the picture, float [..., 2], to the network's input, float64 [..., 2]."""
        moved: NDArray[np.float64] = (np.asarray(points, np.float64) - (self.left, self.top)) / (self.across, self.down)
        return moved


FIELDS = tuple(field.name for field in fields(View))


def placed_view(picture: tuple[int, int], resized: tuple[int, int], at: tuple[int, int]) -> View:
    """View of a picture that was resized and then placed in the network's input.

    Args:
        picture: width and height in pixels as it was sent, upright.
        resized: width and height after resizing, in whole pixels, so that the two scales may differ a little.
        at: x and y of the resized picture's corner in the input; below 0 where it was cropped.
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
    """Columns for a frame's metadata: the values of each field, one for each instance."""
    return {name: [getattr(view, name) for view in views] for name in FIELDS}


def from_columns(columns: Mapping[str, Any]) -> tuple[View, ...]:
    """Build views from the columns in a frame's metadata, as parsed from JSON.

    Raises:
        FrameError: other fields, columns that are not lists or not of one length, or values that `View` refuses.
    """
    if columns.keys() != set(FIELDS) or not all(isinstance(column, list) for column in columns.values()):
        raise _bad(reprlib.repr(columns), f"a list of numbers for each of {', '.join(FIELDS)}")
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) != 1:
        raise _bad(f"of the lengths {lengths}", "one number for each instance in each list")
    rows = zip(*(columns[name] for name in FIELDS), strict=True)
    return tuple(View(**dict(zip(FIELDS, row, strict=True))) for row in rows)


def _check(name: str, value: object, *, least: float, whole: bool = False) -> None:
    number = isinstance(value, int if whole else int | float) and not isinstance(value, bool)
    if not number or not least <= value <= _MOST:  # type: ignore[operator]
        raise _bad(f"with {name} {reprlib.repr(value)}", f"{'a whole number' if whole else 'a number'} from {least:g}")


def _bad(found: str, allowed: str) -> FrameError:
    return FrameError(f"a frame has views {found}; allowed: {allowed}; send what docs/frame.md describes")
