"""Grammar of the text on a license plate, and the classes of the plate detector.

A text is two digits (region), a letter A to E (use) and four digits (serial): `12A 3456`. `12A` is the small group and
`3456` the main group. A long plate has both groups in one row; a regular plate has the small group above the main one.
"""

import re
from dataclasses import dataclass
from typing import Literal

import numpy as np

from shardline.wire.errors import UsageError

Kind = Literal["regular", "long"]
Group = Literal["s", "m"]

KINDS: tuple[Kind, ...] = ("regular", "long")
DIGITS = "0123456789"
USES = "ABCDE"
CLASSES = ("r_board", "l_board", "r_s_n", "r_m_n", "l_s_n", "l_m_n", *DIGITS, *USES.lower())

_TEXT = re.compile(rf"(?P<region>\d{{2}})\s*(?P<use>[{USES}])\s*(?P<serial>\d{{4}})", re.IGNORECASE | re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlateText:
    """The text of one plate, in its three parts."""

    region: str  # two digits
    use: str  # one letter of USES
    serial: str  # four digits

    @property
    def small(self) -> str:
        """Text of the small group, '12A'."""
        return self.region + self.use

    @property
    def main(self) -> str:
        """Text of the main group, '3456'."""
        return self.serial

    def group(self, name: Group) -> str:
        """Text of one group."""
        return self.small if name == "s" else self.main

    def __str__(self) -> str:
        return f"{self.small} {self.main}"


def parse_text(text: str) -> PlateText:
    """Parse '12A 3456', also in small letters and without the space.

    Raises:
        UsageError: any other text.
    """
    found = _TEXT.fullmatch(text.strip())
    if found is None:
        raise UsageError(
            f"{text!r} is not the text of a plate: write two digits, a letter from A to E and four digits: 12A 3456"
        )
    return PlateText(region=found["region"], use=found["use"].upper(), serial=found["serial"])


def is_text(text: str) -> bool:
    """Tell whether a plate may bear a text, in capital or small letters."""
    return _TEXT.fullmatch(text.strip()) is not None


def random_text(random: np.random.Generator) -> PlateText:
    """Draw a text at random; all texts are equally likely."""
    digits = [DIGITS[digit] for digit in random.integers(0, 10, 6)]
    use = USES[random.integers(0, len(USES))]
    return PlateText(region="".join(digits[:2]), use=use, serial="".join(digits[2:]))


def board_class(kind: Kind) -> str:
    """Class name of a board: 'r_board' or 'l_board'."""
    return f"{kind[0]}_board"


def group_class(kind: Kind, group: Group) -> str:
    """Class name of a group of characters, such as 'r_s_n': regular, small."""
    return f"{kind[0]}_{group}_n"
