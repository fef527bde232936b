"""Writing that is no plate's: words, years, prices, telephone numbers, which photographs are full of."""

from string import ascii_letters, ascii_lowercase, ascii_uppercase, digits

import numpy as np

# without I, O, S, Z, G and Q, which might be taken for digits, and without the letters of plates
_UNLIKE = "FHJKLMNPRTUVWXY"
_MARKS = ".-:/,"
_CASES = (ascii_uppercase, ascii_lowercase, ascii_letters)


def unlike_plates(random: np.random.Generator) -> str:
    """Up to seven letters, none of which a plate has or that looks like one of its."""
    return _some(random, _UNLIKE, int(random.integers(0, 8)))


def like_anything(random: np.random.Generator) -> str:
    """A word, a number, both, or a number with a mark in it, of any letters and digits.

    Never what a plate says, since words have two letters or more.
    """
    word = _some(random, _CASES[random.integers(0, len(_CASES))], int(random.integers(2, 12)))
    number = _some(random, digits, int(random.integers(1, 5) if random.random() < 0.6 else random.integers(6, 12)))
    lot = random.random()
    if lot < 0.5:
        return word
    if lot < 0.65:
        return word + number if random.random() < 0.5 else number + word
    if lot < 0.85:
        return number
    return f"{number}{_MARKS[random.integers(0, len(_MARKS))]}{_some(random, digits, 2)}"


def _some(random: np.random.Generator, letters: str, count: int) -> str:
    return "".join(letters[at] for at in random.integers(0, len(letters), count))
