"""Known license plates: the expected plate that a reading most likely stands for, by the characters that are confused.

The distance of two texts is a weighted edit distance: 1 for a character in place of another, 0.4 if the two are easily
confused (the table CONFUSED), 0.3 for a character that was not read, and 1 for one too many or too few. Where the
server reports a score of each character, a substitution costs that share of it: a doubtful character is replaced
cheaply. Where it reports candidates, a plate that is one of them is at most 1 minus its probability away.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shardline.client.plates import Plate, plates_in
from shardline.wire.errors import FileError, PredictorError
from shardline.wire.files import read_bounded

if TYPE_CHECKING:
    from shardline.client.target import Reply

MOST_DISTANCE = 1.0
"""The largest distance of a reading from the known plate that it stands for: one clearly read other character."""

CONFUSED = ("0ODQ", "1IL7T", "2Z", "3E", "38B", "4A", "5S", "6G", "68", "89", "CG", "DB", "EF", "UV", "VY", "MN", "PR")
"""Characters that are easily confused: any two in one word."""

_CONFUSED_COST = 0.4
_UNREAD, _UNREAD_COST = "?", 0.3
_LEAST_SHARE = 0.2  # of a substitution's cost, however doubtful the character
_TIE = 0.05  # two known plates whose distances differ by no more are equally near
_PAIRS = {(first, second) for word in CONFUSED for first in word for second in word}


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownMatch:
    """The known plates that are nearest to a reading: one, or several that are equally near."""

    texts: tuple[str, ...]
    distance: float
    probability: float | None  # of the reading as this plate, if the server reports it as a candidate


class KnownPlates:
    """A list of expected plates."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._texts = {_letters(text): text for text in texts}  # letters and digits alone -> as it was written

    @classmethod
    def read(cls, path: Path) -> "KnownPlates":
        """Read a text file: one plate per line; blanks, hyphens and what follows # do not count.

        Raises:
            FileError: the file cannot be read, has no plates, or has a line without letters and digits.
        """
        try:
            lines = read_bounded(path).decode("utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as exc:
            raise FileError(f"{path}: cannot be read ({getattr(exc, 'strerror', None) or 'not text'})") from exc
        texts = []
        for number, line in enumerate(lines, 1):
            text = line.partition("#")[0].strip()
            if text and not _letters(text):
                raise FileError(f"{path}, line {number}: {text[:40]!r} is no plate: write one plate per line")
            texts += [text] if text else []
        if not texts:
            raise FileError(f"{path}: no plates: write one plate per line, such as 12A 3456")
        return cls(texts)

    def match(self, plate: Plate) -> KnownMatch | None:
        """Find the known plate that a plate stands for; None if none is near enough."""
        read = _letters(plate.text)
        probabilities = {_letters(item.text): item.probability for item in plate.candidates}
        shares = _shares(plate, read)
        distances = {known: edit_distance(read, known, shares) for known in self._texts}
        distances |= {
            known: min(distances[known], 1 - probability)
            for known, probability in probabilities.items()
            if known in distances
        }
        least = min(distances.values())
        if least > MOST_DISTANCE:
            return None
        nearest = [known for known, distance in distances.items() if distance <= least + (_TIE if least else 0)]
        return KnownMatch(
            texts=tuple(self._texts[known] for known in nearest),
            distance=round(least, 3),
            probability=probabilities.get(nearest[0]) if len(nearest) == 1 else None,
        )

    def annotate(self, reply: "Reply") -> "Reply":
        """Add to each plate of a reply the key `known`: the known plate and its distance, or null.

        Where several known plates are equally near, `known` is null and `known_near` lists them.

        Raises:
            PredictorError: the reply is not of license plates.
        """
        plates = plates_in(reply.predictions)
        if plates is None:
            raise PredictorError("the reply is not of license plates: leave out --known", status=502)
        return replace(reply, predictions=([{**plate.reported, **self.facts(plate)} for plate in plates],))

    def facts(self, plate: Plate) -> dict[str, Any]:
        """The keys `known` and `known_near` of a plate, as JSON values."""
        match = self.match(plate)
        if match is None:
            return {"known": None}
        if len(match.texts) > 1:
            return {"known": None, "known_near": list(match.texts)}
        probability = {} if match.probability is None else {"probability": match.probability}
        return {"known": {"plate": match.texts[0], "distance": match.distance, **probability}}


def edit_distance(read: str, known: str, shares: Sequence[float] = ()) -> float:
    """Weighted edit distance of a read text from a known one; `shares`: of a substitution's cost, for each character.

    Both texts are letters and digits alone, in capitals; ? stands for a character that was not read.
    """
    shares = shares or [1.0] * len(read)
    row = [float(column) for column in range(len(known) + 1)]
    for character, share in zip(read, shares, strict=True):
        unread = character == _UNREAD
        gap = _UNREAD_COST if unread else 1.0
        following = [row[0] + gap]
        for column, expected in enumerate(known, 1):
            substituted = row[column - 1] + (_UNREAD_COST if unread else share * _substitution(character, expected))
            following.append(min(substituted, row[column] + gap, following[-1] + 1.0))
        row = following
    return row[-1]


def _substitution(read: str, expected: str) -> float:
    if read == expected:
        return 0.0
    return _CONFUSED_COST if (read, expected) in _PAIRS else 1.0


def _shares(plate: Plate, read: str) -> list[float]:
    """The score of each character of the text, where the server reports them; else no list."""
    if len(plate.characters) != len(read):
        return []
    return [max(_LEAST_SHARE, min(1.0, score)) for _, score in plate.characters]


def _letters(text: str) -> str:
    return "".join(character for character in text.upper() if character.isalnum() or character == _UNREAD)
