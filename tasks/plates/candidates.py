"""The likeliest texts of a plate, each with its probability among all texts that the grammar allows.

The search (search.py) weighs every placement of the detected characters by a product of chances. Here a text weighs as
much as its likeliest placement, and its probability is that weight over the weights of all placements of all texts: so
the text that the search finds is the first one. The characters stay split into groups as the search has split them. In
a group that cannot be read, a position without a detected character may hold each allowed character with equal chance.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, product

from shardline.tasks.plates.search import PlacementWeights, Reading

MOST = 3  # candidates of a plate

# Inverse temperature of the log weights. At 1, a clear plate's own text would have a probability of a half, since the
# search weighs a character that is left out by 0.05. Of 1, 1.5, 2, 2.5, 3 and 4 it is the value at which the true texts
# are likeliest in the pictures of `shardline evaluate plates --count 300 --seed 31 --fonts held-out`, which are none of
# those that docs/plates.md evaluates.
_SHARPNESS = 2.5

_Texts = list[tuple[float, tuple[str, ...]]]  # log weight and text, largest weight first


@dataclass(frozen=True, slots=True, kw_only=True)
class TextCandidate:
    """The text of each group, and the probability of all together."""

    texts: tuple[str, ...]
    probability: float


def text_candidates(reading: Reading, most: int = MOST) -> list[TextCandidate]:
    """The most probable texts of a plate, most probable first; their probabilities add up to 1 at most."""
    found: _Texts = [(0.0, ())]
    for placement in map(_sharpened, reading.placements):
        texts = _likeliest_texts(placement, most)
        total = max(_log_total(placement), _log_sum([weight for weight, _ in texts]))
        group: _Texts = [(weight - total, ("".join(characters),)) for weight, characters in texts]
        found = _joined(found, group, most)
    return [TextCandidate(texts=texts, probability=min(math.exp(weight), 1.0)) for weight, texts in found]


def _sharpened(placement: PlacementWeights) -> PlacementWeights:
    """The placement with all its log weights times `_SHARPNESS`."""
    return PlacementWeights(
        placed=tuple(tuple(map(_times, positions)) for positions in placement.placed),
        empty=tuple(map(_times, placement.empty)),
    )


def _times(logs: Mapping[str, float]) -> dict[str, float]:
    return {character: _SHARPNESS * weight for character, weight in logs.items()}


def _likeliest_texts(placement: PlacementWeights, most: int) -> _Texts:
    """The texts of one group with the largest log weights.

    `table[j]` holds those of the first characters at the group's first j positions.
    """
    empty = [_best(options, most) for options in placement.empty]
    table: list[_Texts] = [[(0.0, ())]]
    for texts in empty:
        table.append(_joined(table[-1], texts, most))
    for positions in placement.placed:
        before, table = table, table[:1]
        for j, options in enumerate(positions):
            left_out, unfilled = before[j + 1], _joined(table[j], empty[j], most)
            table.append(_merged((*left_out, *unfilled, *_joined(before[j], _best(options, most), most)), most))
    return table[-1]


def _log_total(placement: PlacementWeights) -> float:
    """Log of the weights of all placements of all texts of one group, each counted once.

    `table[j]` is that sum for the first characters at the first j positions.
    """
    empty = [_log_sum(list(options.values())) for options in placement.empty]
    table = [0.0, *accumulate(empty)]
    for positions in placement.placed:
        last, after = -math.inf, table[:1]  # `last`: with this character at one of the first j positions
        for j, options in enumerate(positions):
            last = _log_sum((last + empty[j], table[j] + _log_sum(list(options.values()))))
            after.append(_log_sum((table[j + 1], last)))
        table = after
    return table[-1]


def _best(options: Mapping[str, float], most: int) -> _Texts:
    return _merged(((weight, (character,)) for character, weight in options.items()), most)


def _joined(heads: _Texts, tails: _Texts, most: int) -> _Texts:
    pairs = product(heads, tails)
    return _merged(((weight + more, head + tail) for (weight, head), (more, tail) in pairs), most)


def _merged(texts: Iterable[tuple[float, tuple[str, ...]]], most: int) -> _Texts:
    """The `most` largest of some texts, each once; of equal weights the first."""
    found: dict[tuple[str, ...], float] = {}
    for weight, text in texts:
        found[text] = max(weight, found.get(text, -math.inf))
    ordered = sorted(found.items(), key=lambda item: -item[1])
    return [(weight, text) for text, weight in ordered[:most]]


def _log_sum(logs: Sequence[float]) -> float:
    most = max(logs)
    return most if most == -math.inf else most + math.log(sum(math.exp(value - most) for value in logs))
