"""Texts from outside made safe for a line: names, messages and logs hold no control characters once they are shown."""

import unicodedata

_SHOWN = frozenset({"Zs"})  # blanks of all widths, which str.isprintable counts as control characters


def printable(text: str) -> str:
    """Replace everything that moves a cursor, ends a line or turns the direction of a text by U+FFFD.

    Those are control characters, escape sequences among them, line separators, bidirectional controls and other
    characters without a shape, and lone surrogates.
    """
    if text.isprintable():
        return text
    return "".join(char if _is_shown(char) else "\N{REPLACEMENT CHARACTER}" for char in text)


def _is_shown(char: str) -> bool:
    return char.isprintable() or unicodedata.category(char) in _SHOWN
