"""Search for the likeliest text on a plate, among those that the grammar of plates allows.

Each group of characters is a row of positions, such as two digits and a letter (grammar.py). A character can stand at a
position with the score of its best class that is allowed there, or be left out, because it is none or belongs to no
plate; a position can stay empty, because nothing was found there. Dynamic programming weighs all ways to place the
characters, in their order along the row, at the positions by the product of these chances, and does so for all ways to
split a plate's characters into its groups.

A detector may also read the whole plate at once and give the chance of every character at each position. It errs in
other ways than the detection of single characters, so the chances of both are multiplied; where no character was
detected, the whole-plate reading alone can fill the position.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement, product

import numpy as np
from numpy.typing import NDArray

from shardline.tasks.plates.grammar import PlateGrammar, PlateType, built_in

Floats = NDArray[np.float64]

EMPTY = math.log(0.02)  # log chance that nothing is found at a position of a readable plate

_CONFIDENCE = 0.95  # a character that is left out is none with the chance 1 - this * its score
_OUT_OF_ROW = 0.6  # character heights that it may lie above or below the middle of its row
_OTHER_SIZE = 1.7  # a character that is higher than its row, or lower, by this factor is not part of the row
_DETECTION_DOUBT, _TEXT_DOUBT = 0.1, 0.05  # how often each of the two readings is wrong, whatever it says
_LEAST_ALONE = 0.1  # chance from which the whole-plate reading fills a position where no character was detected

# A reader of whole plates that looks for a covered character sees its neighbour: see `_certain`. It is outvoted by a
# detected character that has less than this score as the character that was read.
_OUTVOTED = 0.02
_SLIM = "1I"  # two of them side by side are often detected as one, whose box has at least this width, in heights
_AS_WIDE_AS_TWO = 0.42

_Split = tuple[list[int], ...]  # indexes of the characters of each group


@dataclass(frozen=True, slots=True, kw_only=True)
class Characters:
    """n detected characters on one plate, in their order along its direction.

    Attributes:
        scores: float64 [n, classes]: of each of the grammar's characters.
        at: float64 [n, 2]: along and across the plate, in pixels.
        widths, heights: float64 [n]: of the upright boxes.
        claims: float64 [n, groups]: log odds with which the box of each group claims the character for it.
    """

    scores: Floats
    at: Floats
    widths: Floats
    heights: Floats
    claims: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupReading:
    """One group as read, from its first position to its last.

    Attributes:
        characters: None where none can be read.
        scores: of those that were read.
    """

    characters: tuple[str | None, ...]
    scores: tuple[float, ...]

    @property
    def text(self) -> str | None:
        """Text of the group; None unless all of it was found."""
        return None if None in self.characters else "".join(filter(None, self.characters))


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacementWeights:
    """The log weights of all ways to place a row of characters at the positions of its group.

    Attributes:
        placed: for each character in the row and each position: the log weight of each character that may stand there.
        empty: the same for each position at which no detected character is placed.
    """

    placed: tuple[tuple[Mapping[str, float], ...], ...]
    empty: tuple[Mapping[str, float], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """The likeliest text of a plate. `evidence` is a log chance: the higher, the likelier."""

    groups: tuple[GroupReading, ...]  # in reading order
    evidence: float
    placements: tuple[PlacementWeights, ...]  # of each group

    @property
    def is_whole(self) -> bool:
        return all(group.text is not None for group in self.groups)

    @property
    def log_score(self) -> float:
        """Logarithm of the product of the scores at all positions, where empty ones count `EMPTY`."""
        empty = sum(group.characters.count(None) for group in self.groups)
        return empty * EMPTY + sum(math.log(max(score, 1e-9)) for group in self.groups for score in group.scores)


def read_text(
    characters: Characters, kind: str, whole: Floats | None = None, grammar: PlateGrammar | None = None
) -> Reading:
    """Find the likeliest text of a plate of one type.

    Args:
        characters: that were detected on it.
        kind: the type's name.
        whole: the whole-plate reading, float64 [positions, classes + 1]: at each position the chances of the grammar's
            characters, and that nothing can be read there. None if the detector gives none.
        grammar: of the plates; None: the built-in one.
    """
    grammar = grammar or built_in()
    chances = _Chances(characters, whole, grammar)
    rows = max(_splits(characters.at, grammar.type_named(kind)), key=chances.of_split)
    groups = tuple(chances.best_group(group, row) for group, row in enumerate(rows))
    return Reading(
        groups=groups,
        evidence=chances.of_none + chances.of_split(rows),
        placements=tuple(
            chances.placement(group, row, is_open=groups[group].text is None) for group, row in enumerate(rows)
        ),
    )


def _splits(at: Floats, plate_type: PlateType) -> Iterator[_Split]:
    """All ways to split characters at [n, 2] into the groups of a type, each group in its order along the row.

    Rows are split across the plate, and the groups of a row along it.
    """
    rows = plate_type.rows
    across, along = (np.argsort(at[:, axis], kind="stable").tolist() for axis in (1, 0))
    whole_rows = _runs(along if len(rows) == 1 else across, len(rows))
    for split in whole_rows:
        in_rows = (_runs(sorted(characters), len(row)) for characters, row in zip(split, rows, strict=True))
        for groups in product(*in_rows):
            yield tuple(sorted(group) for row in groups for group in row)


def _runs(order: list[int], count: int) -> Iterator[tuple[list[int], ...]]:
    """All ways to cut a list into so many runs, each of which may be empty."""
    for cuts in combinations_with_replacement(range(len(order) + 1), count - 1):
        yield tuple(order[start:end] for start, end in zip((0, *cuts), (*cuts, len(order)), strict=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Position:
    """The character that the best placement puts at one position.

    `support` is the score of the detected character as this one; None where none was detected. `is_two`: its box may
    hold two slim characters.
    """

    character: str
    score: float
    support: float | None
    is_two: bool = False


class _Chances:
    """Log chances of every placement of the characters.

    `of_none` is the log chance that all characters are left out and all positions empty. A character's gain at a
    position is counted from there, so that only the gains of the placed characters have to be added up.
    """

    def __init__(self, characters: Characters, whole: Floats | None, grammar: PlateGrammar) -> None:
        self._names = grammar.characters
        self._columns = [range(columns.start, columns.stop) for columns in grammar.columns]
        # bool [positions, classes]: which character may stand where
        self._allowed = np.array([[name in alphabet for name in self._names] for alphabet in grammar.alphabets])
        best = np.minimum(characters.scores.max(axis=1, initial=0.0), 1.0)  # [n]
        self._scores = characters.scores
        left_out = np.log1p(-_CONFIDENCE * best)  # [n]
        self._chances, self._alone = _combined(characters.scores, whole, self._allowed)
        self._seen = characters.scores[:, None] * self._allowed  # [n, positions, classes]
        self._empty = np.maximum(np.log(np.maximum(self._alone.max(axis=1), 1e-9)), EMPTY)  # [positions]
        self._bases = -left_out[:, None] - self._empty  # [n, positions]
        gains = np.log(np.maximum(self._chances.max(axis=2), 1e-6)) + self._bases  # [n, positions]
        others = characters.claims.sum(axis=1, keepdims=True) - characters.claims
        self._leans = np.minimum(characters.claims - others, 0.0)  # [n, groups]
        self.of_none = float(left_out.sum() + self._empty.sum())
        self._gains: list[list[list[float]]] = [  # [group][character][position in the group]
            (gains[:, columns] + self._leans[:, [group]]).tolist() for group, columns in enumerate(grammar.columns)
        ]
        self._weights: list[float] = np.square(best).tolist()  # for the median height and level of a row
        self._levels: list[float] = characters.at[:, 1].tolist()
        self._heights: list[float] = characters.heights.tolist()
        self._widths: list[float] = characters.widths.tolist()

    def of_split(self, split: _Split) -> float:
        """Gain of the best placement of all groups of a split."""
        return sum(self._place(group, row)[-1][-1] for group, row in enumerate(split))

    def _place(self, group: int, row: Sequence[int]) -> list[list[float]]:
        """Table [i][j]: the highest gain of the first i characters of a row at the group's first j positions."""
        gains, straight = self._gains[group], self._straight(row)
        table = [[0.0] * (len(self._columns[group]) + 1)]
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

    def best_group(self, group: int, row: Sequence[int]) -> GroupReading:
        """Trace the best placement of a row back through its table."""
        table, columns = self._place(group, row), self._columns[group]
        found: list[_Position | None] = []
        i, j = len(row), len(columns)
        while j:
            if i and table[i][j] == table[i - 1][j]:
                i -= 1
            elif table[i][j] == table[i][j - 1]:
                j -= 1
                found.append(self._undetected(columns[j]))
            else:
                i, j = i - 1, j - 1
                found.append(self._detected(row[i], columns[j]))
        found.reverse()
        read = [placed if is_certain else None for placed, is_certain in zip(found, _certain(found), strict=True)]
        return GroupReading(
            characters=tuple(placed.character if placed else None for placed in read),
            scores=tuple(placed.score for placed in read if placed),
        )

    def placement(self, group: int, row: Sequence[int], *, is_open: bool) -> PlacementWeights:
        """The log weights of all ways to place a row.

        `is_open`: the group cannot be read, so the whole-plate reading says nothing about it.
        """
        columns, straight = self._columns[group], self._straight(row)
        chances = self._seen if is_open else self._chances
        logs = np.log(np.maximum(chances, 1e-6)) + (self._bases + self._leans[:, [group]])[:, :, None]
        alone = np.zeros_like(self._alone) if is_open else self._alone
        return PlacementWeights(
            placed=tuple(
                tuple(self._by_name(logs[index, column], column) for column in columns)
                for index in row
                if index in straight
            ),
            empty=tuple(self._by_name(self._empty_logs(alone[column], column), column) for column in columns),
        )

    def _empty_logs(self, alone: Floats, column: int) -> Floats:
        """Log weights of the characters [classes] at a position without a detected one: equal if none is read there."""
        if alone.max() < _LEAST_ALONE:
            return np.full(len(self._names), -math.log(self._allowed[column].sum()))
        logs: Floats = np.log(np.maximum(alone, 1e-9)) - self._empty[column]
        return logs

    def _by_name(self, values: Floats, column: int) -> dict[str, float]:
        """The values [classes] of the characters that may stand at a position."""
        return {name: values[at].item() for at, name in enumerate(self._names) if self._allowed[column, at]}

    def _undetected(self, column: int) -> _Position | None:
        character, score = self._likeliest(self._alone[column])
        return _Position(character=character, score=score, support=None) if score >= _LEAST_ALONE else None

    def _detected(self, index: int, column: int) -> _Position:
        character, score = self._likeliest(self._chances[index, column])
        support = float(self._scores[index, self._names.index(character)])
        is_two = character in _SLIM and self._widths[index] >= _AS_WIDE_AS_TWO * self._heights[index]
        return _Position(character=character, score=score, support=support, is_two=is_two)

    def _likeliest(self, chances: Floats) -> tuple[str, float]:
        """The likeliest character of chances [classes], as it is written, and its chance."""
        at = int(chances.argmax())
        return self._names[at], min(float(chances[at]), 1.0)

    def _straight(self, row: Sequence[int]) -> set[int]:
        """Characters as high as most of the row and in line with it: a bolt above the row is no zero."""
        if len(row) < 2:
            return set(row)
        height = self._median(row, self._heights)
        level = self._median(row, self._levels)
        return {
            index
            for index in row
            if height / _OTHER_SIZE <= self._heights[index] <= height * _OTHER_SIZE
            and abs(self._levels[index] - level) <= _OUT_OF_ROW * height
        }

    def _median(self, row: Sequence[int], values: Sequence[float]) -> float:
        """Median of some characters' values, weighted by the squares of their scores."""
        ordered = sorted(row, key=values.__getitem__)
        left = sum(self._weights[index] for index in row) / 2
        for index in ordered:
            left -= self._weights[index]
            if left <= 0:
                break
        return values[index]


def _certain(positions: Sequence[_Position | None]) -> list[bool]:
    """Tell which positions of a group are read for certain: all with a detected character, and some without.

    Where a character is covered, the whole-plate reading repeats its neighbour, or moves the neighbours by one position
    against what was detected there. So a position without a detected character is read only if its neighbours differ
    from it, or may be two, and the detected characters of the group agree with the reading.
    """
    supports = [position.support for position in positions if position]
    outvoted = any(support is not None and support < _OUTVOTED for support in supports)
    written = [
        None,
        *(position.character if position and not position.is_two else None for position in positions),
        None,
    ]
    return [
        position is not None
        and (position.support is not None or not (outvoted or position.character in (before, after)))
        for position, before, after in zip(positions, written, written[2:], strict=False)
    ]


def _combined(scores: Floats, whole: Floats | None, may_stand: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Combine detected characters [n, classes] with the whole-plate reading into chances at each position.

    The whole-plate reading is [positions, classes + 1], and `may_stand` is [positions, classes].

    Each of the two is wrong now and then, so both are mixed with a uniform distribution; then they are multiplied and
    normalised.

    Returns:
        Chances of each allowed class: [n, positions, classes] where a detected character is placed, and [positions,
        classes] where none is.
    """
    if whole is None:
        return scores[:, None] * may_stand, np.zeros(may_stand.shape)
    absent = np.concatenate((scores, np.zeros((1, scores.shape[1]))))  # [n + 1, classes]; last: no character
    found = np.concatenate((absent, np.clip(1 - absent.sum(axis=1, keepdims=True), 0, 1)), axis=1)
    both = _with_doubt(found, _DETECTION_DOUBT)[:, None] * _with_doubt(whole, _TEXT_DOUBT)
    both /= both.sum(axis=2, keepdims=True)
    chances = both[:, :, :-1] * may_stand
    return chances[:-1], chances[-1]


def _with_doubt(chances: Floats, doubt: float) -> Floats:
    """Mix chances [..., classes] with a uniform distribution of weight `doubt`."""
    mixed: Floats = (1 - doubt) * chances + doubt / chances.shape[-1]
    return mixed
