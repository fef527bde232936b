"""Characters on a plate -> what is written there: the likeliest reading that the grammar of plates allows.

Each group of characters is a row of places: two digits and a letter, or four digits. A character can be at a place with
the score of its best class that is allowed there, be left out (it was none, or belongs to no plate), and a place can
stay empty (nothing was found there). All ways to lay the characters, in their order along the row, onto the places are
weighed by the product of these chances, and so are all ways to part a plate's characters into its two groups.

A detector may say of each place what is written there, too, from a look at the whole plate. It errs in other ways than
whatever finds single characters, so the chances of both are multiplied; and where no character was found, that look
alone can fill the place.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from shardline.tasks.plate_text import DIGITS, USES, Group, Kind
from shardline.tasks.plate_things import Floats

PLACES: dict[Group, str] = {"s": "001", "m": "0000"}  # 0 a digit, 1 a letter
_EACH = "".join(PLACES.values())

Split = tuple[list[int], list[int]]  # indexes of characters, of the small and of the main group

EMPTY = math.log(0.02)  # how likely it is that nothing was found at a place of a plate that can be read
_SURELY = 0.95  # a character that is left out was none with 1 - this much of its score
_OUT_OF_ROW = 0.6  # heights of a character that it may lie above or below the middle of its row
_OTHER_SIZE = 1.7  # times as high, or as low, as the row's: part of no row
_COLUMNS: dict[Group, slice] = {"s": slice(0, 3), "m": slice(3, None)}  # of the places
_ALLOWED = np.array([[(place == "0") == (each in DIGITS) for each in DIGITS + USES] for place in _EACH])
_FOUND_DOUBT, _TEXT_DOUBT = 0.1, 0.05  # how often each of two witnesses is mistaken, whatever it says
_LEAST_ALONE = 0.1  # chance from which the look at the whole plate fills a place where no character was found


@dataclass(frozen=True, slots=True, kw_only=True)
class Characters:
    """n characters of one plate, ordered along its direction.

    `at` is [n, 2]: along and across the plate, in pixels. `heights` [n] are of the upright boxes. `leaning` [n] is
    above 0 for those that a group's box claims for the small group, below 0 for the main one: a logarithm of odds.
    """

    scores: Floats  # [n, 15]: of each class, 0-9 and a-e
    at: Floats
    heights: Floats
    leaning: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One group: its characters, None where none was found, and the score of each that was."""

    characters: tuple[str | None, ...]
    scores: tuple[float, ...]

    @property
    def text(self) -> str | None:
        """None unless all of it was found."""
        return None if None in self.characters else "".join(filter(None, self.characters))


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """The likeliest reading. `evidence` is a logarithm: the higher, the likelier."""

    small: Part
    main: Part
    evidence: float

    @property
    def is_whole(self) -> bool:
        return self.small.text is not None and self.main.text is not None

    @property
    def found(self) -> float:
        """The logarithm of the product of the scores of all places, where empty ones have `EMPTY`."""
        parts = self.small, self.main
        empty = sum(part.characters.count(None) for part in parts)
        return empty * EMPTY + sum(math.log(max(score, 1e-9)) for part in parts for score in part.scores)


def read(characters: Characters, kind: Kind, text: Floats | None = None) -> Reading:
    """The likeliest text of a plate of this kind.

    Args:
        text: what a look at the whole plate says of each place, [7, 16]: the chances of 0-9 and a-e, and that nothing
            can be read there.
    """
    chances = _Chances(characters, text)
    small, main = max(_splits(characters, kind), key=chances.of_split)
    return Reading(
        small=chances.part("s", small),
        main=chances.part("m", main),
        evidence=chances.of_none + chances.of_split((small, main)),
    )


def _splits(characters: Characters, kind: Kind) -> Iterator[Split]:
    """Indexes of the small and of the main group, each in its order along the row.

    A long plate is parted along its row, a regular one across: its small group is the upper row.
    """
    order = np.argsort(characters.at[:, 0 if kind == "long" else 1], kind="stable").tolist()
    for at in range(len(order) + 1):
        yield sorted(order[:at]), sorted(order[at:])


class _Chances:
    """Logarithms of what each character can be.

    `of_none` is that of all characters left out and all places empty. What a character gains at a place is counted from
    there, so that only those that are laid have to be added up.
    """

    def __init__(self, characters: Characters, text: Floats | None) -> None:
        surest = np.minimum(characters.scores.max(axis=1, initial=0.0), 1.0)
        left_out = np.log1p(-_SURELY * surest)
        self._chances, self._alone = _witnessed(characters.scores, text)
        empty = np.maximum(np.log(np.maximum(self._alone.max(axis=1), 1e-9)), EMPTY)
        gains = np.log(np.maximum(self._chances.max(axis=2), 1e-6)) - left_out[:, None] - empty
        leans = {"s": np.minimum(characters.leaning, 0.0), "m": np.minimum(-characters.leaning, 0.0)}
        self.of_none = float(left_out.sum() + empty.sum())
        self._gains: dict[Group, list[list[float]]] = {  # [character][place]
            group: (gains[:, _COLUMNS[group]] + leans[group][:, None]).tolist() for group in PLACES
        }
        self._weights: list[float] = np.square(surest).tolist()  # of what a row's usual height and level are
        self._levels: list[float] = characters.at[:, 1].tolist()
        self._heights: list[float] = characters.heights.tolist()

    def of_split(self, split: Split) -> float:
        """What the characters gain when they are parted so."""
        return sum(self._lay(group, row)[-1][-1] for group, row in zip(PLACES, split, strict=True))

    def _lay(self, group: Group, row: Sequence[int]) -> list[list[float]]:
        """[i][j]: the most that the first i characters of a row gain on the group's first j places."""
        gains, straight = self._gains[group], self._straight(row)
        table = [[0.0] * (len(PLACES[group]) + 1)]
        for index in row:
            before = table[-1]
            after = before
            if index in straight:
                most, after = 0.0, [0.0]
                for left, above, gain in zip(before, before[1:], gains[index], strict=False):
                    most = max(most, above, left + gain)
                    after.append(most)
            table.append(after)
        return table

    def part(self, group: Group, row: Sequence[int]) -> Part:
        """The group with the characters that gain the most, each at its place."""
        table, columns = self._lay(group, row), range(len(_EACH))[_COLUMNS[group]]
        found: list[tuple[str, float] | None] = []
        i, j = len(row), len(columns)
        while j:
            if i and table[i][j] == table[i - 1][j]:
                i -= 1
            elif table[i][j] == table[i][j - 1]:
                j -= 1
                alone = _named(self._alone[columns[j]])
                found.append(alone if alone[1] >= _LEAST_ALONE else None)
            else:
                i, j = i - 1, j - 1
                found.append(_named(self._chances[row[i], columns[j]]))
        found.reverse()
        return Part(
            characters=tuple(each and each[0] for each in found),
            scores=tuple(each[1] for each in found if each),
        )

    def _straight(self, row: Sequence[int]) -> set[int]:
        """Those as high as most of the row, and in one line with it: a bolt above it is no zero."""
        if len(row) < 2:
            return set(row)
        height = self._usual(row, self._heights)
        level = self._usual(row, self._levels)
        return {
            index
            for index in row
            if height / _OTHER_SIZE <= self._heights[index] <= height * _OTHER_SIZE
            and abs(self._levels[index] - level) <= _OUT_OF_ROW * height
        }

    def _usual(self, row: Sequence[int], values: Sequence[float]) -> float:
        """The median, where sure characters count more."""
        ordered = sorted(row, key=values.__getitem__)
        left = sum(self._weights[index] for index in row) / 2
        for index in ordered:
            left -= self._weights[index]
            if left <= 0:
                break
        return values[index]


def _witnessed(scores: Floats, text: Floats | None) -> tuple[Floats, Floats]:
    """Characters [n, 15] and the look at the whole plate [7, 16] -> what is at a place, among what may be there.

    [n, 7, 15] if a character is laid there, and [7, 15] if none is: the product of what both witnesses say, of which
    each is mistaken now and then, over its sum.
    """
    if text is None:
        return scores[:, None] * _ALLOWED, np.zeros(_ALLOWED.shape)
    absent = np.concatenate((scores, np.zeros((1, scores.shape[1]))))
    found = np.concatenate((absent, np.clip(1 - absent.sum(axis=1, keepdims=True), 0, 1)), axis=1)
    both = _doubted(found, _FOUND_DOUBT)[:, None] * _doubted(text, _TEXT_DOUBT)
    both /= both.sum(axis=2, keepdims=True)
    chances = both[:, :, :-1] * _ALLOWED
    return chances[:-1], chances[-1]


def _doubted(chances: Floats, doubt: float) -> Floats:
    """With a share of everything alike."""
    doubted: Floats = (1 - doubt) * chances + doubt / chances.shape[-1]
    return doubted


def _named(chances: Floats) -> tuple[str, float]:
    """The likeliest class, as it is written, and its chance."""
    at = int(chances.argmax())
    return (DIGITS + USES)[at], min(float(chances[at]), 1.0)
