"""What is written on boards that are no plates: words, dates, numbers, plates of other shapes than ours."""

import string

import numpy as np

from shardline.tasks.plates.text import is_text

# without I, O, S, Z, G and Q, which might be taken for digits, and without the letters of plates
_UNLIKE = "FHJKLMNPRTUVWXY"
_MEANT = {"0": string.digits, "A": string.ascii_uppercase, "a": string.ascii_lowercase}
_SHAPES = tuple(
    """
    00 000 0000 00000 000000 0000000 00000000 0-00 00-00 00/00/00 00-00-0000 00.00.0000 000-0000 00000-000000
    AA000000 AAA0000 AA-000-AA AA00AAA 000AAA 0000AA A0000 00A000 0A0000 00AA0000 A00-0000 AA0000AA 000-AA-00
    """.split()  # noqa: SIM905  # six lines as a list
)
_NUMBERS, _TWO_ROWS = 0.45, 0.4  # shares of rows that have one of the shapes, the others are words; of boards
_LONGEST_WORD = 10


def unlike_plates(random: np.random.Generator) -> str:
    """Up to seven letters that look like nothing on a plate."""
    return "".join(_UNLIKE[each] for each in random.integers(0, len(_UNLIKE), random.integers(0, 8)))


def any_writing(random: np.random.Generator) -> tuple[str, ...]:
    """One row or two, of any letters and digits; never a plate's text."""
    while True:
        rows = tuple(_row(random) for _ in range(2 if random.random() < _TWO_ROWS else 1))
        if not is_text("".join(rows)):
            return rows


def _row(random: np.random.Generator) -> str:
    if random.random() < _NUMBERS:
        shape = _SHAPES[random.integers(0, len(_SHAPES))]
    else:
        first, rest = ("Aa", "AA", "aa")[random.integers(0, 3)]
        shape = first + rest * int(random.integers(1, _LONGEST_WORD))
    return "".join(_MEANT[each][random.integers(0, len(_MEANT[each]))] if each in _MEANT else each for each in shape)
