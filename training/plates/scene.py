"""Scenes: ranges that pictures are drawn within, free positions for boards, and the writing on other boards."""

import string
from dataclasses import dataclass, field

import numpy as np

from shardline.tasks.plates.grammar import PlateGrammar, PlateType, built_in
from shardline.tasks.plates.text import PlateText, is_text
from shardline.training.plates.geometry import (
    Box,
    Matrix,
    Outline,
    Pose,
    bounds,
    move,
    oversampling,
    project,
    rectangle,
    stand,
)
from shardline.wire.errors import UsageError

_TRIES = 12  # to find room

# without I, O, S, Z, G and Q, which look like digits; those of the grammar's plates are left out, too
_UNLIKE = "FHJKLMNPRTUVWXY"
_SMALL = "adefghmnqrt"  # where plates have all letters: small ones that look unlike capitals
_MEANT = {"0": string.digits, "A": string.ascii_uppercase, "a": string.ascii_lowercase}
_SHAPES = tuple(
    """
    00 000 0000 00000 000000 0000000 00000000 0-00 00-00 00/00/00 00-00-0000 00.00.0000 000-0000 00000-000000
    AA000000 AAA0000 AA-000-AA AA00AAA 000AAA 0000AA A0000 00A000 0A0000 00AA0000 A00-0000 AA0000AA 000-AA-00
    """.split()  # noqa: SIM905  # a list would take six lines
)
_NUMBERS = 0.45  # share of rows that have one of the shapes; the others are words
_TWO_ROWS = 0.4  # share of boards
_LONGEST_WORD = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """Ranges and shares within which each picture is drawn at random.

    Raises:
        UsageError: a value that no picture can have.
    """

    size: tuple[int, int] = (512, 512)  # width, height
    plates: tuple[int, int] = (1, 3)  # fewest and most, where there are any
    empty: float = 0.1  # share of pictures without plates
    grammar: PlateGrammar = field(default_factory=built_in)
    kinds: tuple[str, ...] = ()  # names of types; empty: all of the grammar
    text: PlateText | None = None  # on every plate; None: each its own
    least_width_px: float = 48  # of a plate
    most_width: float = 0.9  # of the picture's width
    rotation_deg: float = 20.0
    tilt_deg: float = 40.0  # about the upright axis; three quarters of it about the level axis
    wear: float = 1.0  # 0: new plates in even light; 1: up to what can just be read
    camera: float = 1.0  # 0: the camera adds nothing
    covered: float = 0.12  # share of plates of which something is hidden
    covered_characters: int = 0  # on each plate: characters that are hidden, in random places
    cut_off: float = 0.04  # share of plates that may reach out of the picture
    signs: float = 0.3  # share of pictures with boards that are no plates
    most_signs: int = 2  # in one picture
    writing: float = 0.0  # share of those boards with any letters and digits; the others have no character of plates

    def __post_init__(self) -> None:
        shares = {
            name: getattr(self, name) for name in ("empty", "wear", "camera", "covered", "cut_off", "signs", "writing")
        }
        wrong = [f"{name} {value:g}" for name, value in shares.items() if not 0 <= value <= 1]
        if wrong:
            raise UsageError(f"{', '.join(wrong)}: allowed is 0 to 1")
        if min(self.size) < 32:
            raise UsageError(f"pictures of {self.size[0]} x {self.size[1]}: 32 pixels a side are the least")
        if not 8 <= self.least_width_px <= self.most_width * self.size[0]:
            raise UsageError(
                f"plates of {self.least_width_px:g} pixels or more: allowed is 8 to "
                f"{self.most_width * self.size[0]:g}, {self.most_width:g} of the picture's width"
            )
        if not 0 <= self.plates[0] <= self.plates[1]:
            raise UsageError(f"{self.plates[0]} to {self.plates[1]} plates: the first must not be above the second")
        most = len(self.grammar.alphabets)
        if not 0 <= self.covered_characters <= most:
            raise UsageError(f"{self.covered_characters} covered characters on each plate: allowed is 0 to {most}")
        for kind in self.kinds:
            self.grammar.type_named(kind)
        if not (0 <= self.rotation_deg <= 180 and 0 <= self.tilt_deg <= 70):
            raise UsageError("rotation may be 0 to 180 degrees and tilt 0 to 70, beyond which nothing can be read")

    @property
    def types(self) -> tuple[PlateType, ...]:
        """The types of plates to draw."""
        return tuple(map(self.grammar.type_named, self.kinds)) or self.grammar.types


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardPosition:
    """The position of a board: the homography from plate units (see geometry.stand) to the picture."""

    aspect: float
    matrix: Matrix
    outline: Outline

    @property
    def face_height_px(self) -> float:
        """The height at which no part of the face is drawn smaller than it is seen, times the oversampling."""
        return oversampling(self.outline.width_px) * max(self.outline.width_px / self.aspect, self.outline.height_px)


def find_position(
    random: np.random.Generator, scene: Scene, taken: list[Box], aspect: float, width_px: float
) -> BoardPosition | None:
    """Find a random position where a board overlaps none of the boxes `taken`, and add its own box to them.

    None where there is no such position, or the board is too large for the picture.
    """
    width, height = scene.size
    matrix = stand(_random_pose(random, scene), aspect, width_px)
    corners = project(matrix, rectangle(-aspect / 2, -0.5, aspect / 2, 0.5))
    left, top, right, bottom = bounds(corners)
    room = np.array([(-left, -top), (width - right, height - bottom)])
    if random.random() < scene.cut_off:
        room += np.array([(-1,), (1,)]) * 0.3 * (right - left, bottom - top)
    if (room[0] > room[1]).any():
        return None
    for _ in range(_TRIES):
        x, y = random.uniform(room[0], room[1])
        box = left + x, top + y, right + x, bottom + y
        if not any(_overlap(box, other) for other in taken):
            taken.append(box)
            return BoardPosition(
                aspect=aspect, matrix=move(x, y) @ matrix, outline=Outline(corners=corners + np.array((x, y)))
            )
    return None


def _random_pose(random: np.random.Generator, scene: Scene) -> Pose:
    """Draw an orientation: mostly nearly straight, else uniform up to the largest angles that are allowed."""
    even = random.uniform(-1, 1, 3)
    mild = np.clip(random.normal(0, 0.3, 3), -1, 1)
    angle, yaw, pitch = np.where(random.random(3) < 0.5, even, mild)
    return Pose(
        angle_deg=float(angle * scene.rotation_deg),
        yaw_deg=float(yaw * scene.tilt_deg),
        pitch_deg=float(pitch * scene.tilt_deg * 0.75),
        distance=float(random.uniform(1.5, 8)),
    )


def _overlap(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def unlike_plates(random: np.random.Generator, grammar: PlateGrammar) -> str:
    """Up to seven letters that look like no character of a plate."""
    letters = [letter for letter in _UNLIKE if letter not in grammar.characters] or _SMALL
    return "".join(letters[index] for index in random.integers(0, len(letters), random.integers(0, 8)))


def any_writing(random: np.random.Generator, grammar: PlateGrammar) -> tuple[str, ...]:
    """One row or two of any letters and digits; never the text of a plate."""
    while True:
        rows = tuple(_row(random) for _ in range(2 if random.random() < _TWO_ROWS else 1))
        if not is_text("".join(rows), grammar):
            return rows


def _row(random: np.random.Generator) -> str:
    if random.random() < _NUMBERS:
        shape = _SHAPES[random.integers(0, len(_SHAPES))]
    else:
        first, rest = ("Aa", "AA", "aa")[random.integers(0, 3)]
        shape = first + rest * int(random.integers(1, _LONGEST_WORD))
    return "".join(_MEANT[sign][random.integers(0, len(_MEANT[sign]))] if sign in _MEANT else sign for sign in shape)
