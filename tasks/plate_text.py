"""What is written on a plate, and the detector's classes.

Region: two digits; use: one letter A to E; serial: four digits. `12A` is the small group and `3456` the main one; a
long plate has both in one row, a regular plate has the small group above the main one.
"""

import re
from dataclasses import dataclass
from typing import Literal

import numpy as np

from shardline.wire.errors import ModelError

Kind = Literal["regular", "long"]
Group = Literal["s", "m"]

KINDS: tuple[Kind, ...] = ("regular", "long")
DIGITS = "0123456789"
USES = "ABCDE"
CLASSES = ("r_board", "l_board", "r_s_n", "r_m_n", "l_s_n", "l_m_n", *DIGITS, *USES.lower())

_TEXT = re.compile(rf"(?P<region>\d{{2}})\s*(?P<use>[{USES}])\s*(?P<serial>\d{{4}})", re.IGNORECASE | re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlateText:
    region: str  # two digits
    use: str  # one letter of USES
    serial: str  # four digits

    @property
    def small(self) -> str:
        return self.region + self.use

    @property
    def main(self) -> str:
        return self.serial

    def group(self, name: Group) -> str:
        return self.small if name == "s" else self.main

    def __str__(self) -> str:
        return f"{self.small} {self.main}"


def parse_text(text: str) -> PlateText:
    """'12A 3456', also in small letters and without the space.

    Raises:
        ModelError: anything else.
    """
    found = _TEXT.fullmatch(text.strip())
    if found is None:
        raise ModelError(f"{text!r} is on no plate: write two digits, a letter from A to E and four digits: 12A 3456")
    return PlateText(region=found["region"], use=found["use"].upper(), serial=found["serial"])


def is_text(text: str) -> bool:
    """Whether a plate may bear it, in capitals or small letters."""
    return _TEXT.fullmatch(text.strip()) is not None


def random_text(random: np.random.Generator) -> PlateText:
    """Every text is as likely as every other."""
    digits = [DIGITS[each] for each in random.integers(0, 10, 6)]
    use = USES[random.integers(0, len(USES))]
    return PlateText(region="".join(digits[:2]), use=use, serial="".join(digits[2:]))


def board_class(kind: Kind) -> str:
    return f"{kind[0]}_board"


def group_class(kind: Kind, group: Group) -> str:
    return f"{kind[0]}_{group}_n"
