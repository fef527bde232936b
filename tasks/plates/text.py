"""Texts of license plates: parsing, random texts, and the check of any text, by a grammar.

A text of the built-in grammar is `12A 3456`: two digits, a letter A to E, and four digits.
"""

from collections import Counter
from dataclasses import dataclass

import numpy as np

from shardline.tasks.plates.grammar import PlateGrammar, built_in
from shardline.wire.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class PlateText:
    """The text of one plate, group by group."""

    groups: tuple[str, ...]
    separator: str = " "

    def __str__(self) -> str:
        return self.separator.join(self.groups)


def parse_text(text: str, grammar: PlateGrammar | None = None) -> PlateText:
    """Parse '12A 3456', also in small letters and without the space.

    Args:
        text: of a plate; spaces and the grammar's separator may be left out.
        grammar: of the plate; None: the built-in one.

    Raises:
        UsageError: any other text.
    """
    grammar = grammar or built_in()
    found = _parsed(text, grammar)
    if found is None:
        example = grammar.separator.join(
            "".join(alphabet[0] for alphabet in group.alphabets) for group in grammar.groups
        )
        alphabets = dict.fromkeys(grammar.alphabets)
        allowed = ", ".join(f"{alphabet[0]} stands for any of {alphabet}" for alphabet in alphabets)
        raise UsageError(f"{text!r} is not the text of a plate: write a text such as {example}, where {allowed}")
    return found


def is_text(text: str, grammar: PlateGrammar | None = None) -> bool:
    """Tell whether a plate may bear a text, in capital or small letters."""
    return _parsed(text, grammar or built_in()) is not None


def _parsed(text: str, grammar: PlateGrammar) -> PlateText | None:
    written = "".join(text.replace(grammar.separator or " ", "").split()).upper()
    if len(written) != len(grammar.alphabets):
        return None
    if not all(character in alphabet for character, alphabet in zip(written, grammar.alphabets, strict=True)):
        return None
    return PlateText(groups=tuple(written[columns] for columns in grammar.columns), separator=grammar.separator)


def random_text(random: np.random.Generator, grammar: PlateGrammar | None = None) -> PlateText:
    """Draw a text at random; all texts are equally likely."""
    grammar = grammar or built_in()
    drawn = {
        alphabet: iter(random.integers(0, len(alphabet), count).tolist())
        for alphabet, count in Counter(grammar.alphabets).items()
    }
    groups = ("".join(alphabet[next(drawn[alphabet])] for alphabet in group.alphabets) for group in grammar.groups)
    return PlateText(groups=tuple(groups), separator=grammar.separator)
