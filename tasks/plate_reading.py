"""What a detector found in one picture -> plates: characters in their groups, groups on their boards.

Every board is read as a regular and as a long plate, and the likelier of the two is taken: by the board's own score for
that kind, by the boxes of groups of that kind on it, and most of all by how well the characters on it make a text of
that kind. So a board whose kind is in doubt, or whose groups were missed, is read all the same.

How sure is a plate? Its score is the geometric mean of the scores of the board and of all characters that it says: the
typical one of these eight things. A minimum would give up a plate for one faint character that the seven around it make
certain; a product would be small for every plate. A plate says as much as reaches the threshold: both parts, or the
surer one, or that there is a plate which cannot be read. What is not said counts too: what looks like a board and bears
four digits alone, or nothing, is seldom one.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from shardline.tasks.plate_text import KINDS, Group, Kind
from shardline.tasks.plate_text_search import Characters, Part, Reading, read
from shardline.tasks.plate_things import Aspects, Floats, Frame, Things, direction, frame_of, shared_areas, sure_things

THRESHOLD = 0.7

_LEAST_BOARD, _LEAST_GROUP, _LEAST_CHARACTER = 0.1, 0.2, 0.1  # below it there is nothing, unless more is asked for
_ASPECTS: dict[Kind, Aspects] = {
    "regular": Aspects(least=0.8, usual=1.7, most=2.8),
    "long": Aspects(least=2.2, usual=4.5, most=6.5),
}
_GROUP_ASPECTS = Aspects(least=0.8, usual=2.3, most=6.0)
_GROUPS: tuple[Group, ...] = ("s", "m")
_REACH = 1.1  # a character's centre may lie so far out, in halves of the plate
_MOST_CHARACTERS = 16  # on one plate; of more the surest are looked at
_INSIDE = 0.7  # a board of which so much lies on a plate that was read is no other plate
_DOUBT = 0.02  # the least that a board's or a group's score counts: characters can outweigh it
_OTHER_KIND = 0.1  # a board that is so much less of one kind, and can be read as the other, is not read as both
_VAGUE = 0.4  # what a character that is missing or hardly there counts for a plate that cannot be read
_ABSENT = 0.3  # the least that a character counts whose part is not said
_LEAN = 2.0  # how much the sure box of a group says of a character in its middle


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """All that was found in one picture."""

    boards: Things  # scores: regular, long
    turns: Floats  # [n, 2]: cosine and sine of each board's direction
    groups: Things  # scores: regular small, regular main, long small, long main
    characters: Things  # scores: 0-9, a-e
    texts: Floats | None  # [n, 7, 16]: of each board's seven places 0-9, a-e, nothing; not every detector says it


@dataclass(frozen=True, slots=True, kw_only=True)
class PlateFound:
    """One plate, in pixels of the network's input. A part's text is None where it cannot be read."""

    kind: Kind
    frame: Frame
    box: Floats  # [4], the board's
    sub_text: str | None
    main_text: str | None
    score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Claim:
    """A group's box: its frame seen from the plate's direction, and its score."""

    frame: Frame
    score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Candidate:
    """One board, read as one kind. `evidence` is a logarithm of all that speaks for it."""

    index: int
    kind: Kind
    frame: Frame
    board_score: float
    reading: Reading
    evidence: float
    taken: frozenset[int]  # the characters that lie on it

    @property
    def rank(self) -> float:
        """The logarithm of the mean score of all that a plate has, with what was not found."""
        return (math.log(max(self.board_score, _DOUBT)) + self.reading.found) / 8


def find_things(arrays: Sequence[Floats], threshold: float = THRESHOLD) -> Found:
    """A detector's arrays for one picture -> what is sure enough to look at.

    Args:
        arrays: boxes and scores of boards, their turns, boxes and scores of groups, and of characters, and, if the
            detector says so much, the boards' texts; float64.
        threshold: of the plates that are asked for; a low one makes this look at less sure things, too.
    """
    board_boxes, board_scores, turns, group_boxes, group_scores, character_boxes, character_scores, *texts = arrays
    boards, kept = sure_things(board_boxes, board_scores, min(_LEAST_BOARD, threshold))
    groups, _ = sure_things(group_boxes, group_scores, min(_LEAST_GROUP, threshold))
    characters, _ = sure_things(character_boxes, character_scores, min(_LEAST_CHARACTER, threshold))
    return Found(
        boards=boards,
        turns=turns[kept],
        groups=groups,
        characters=characters,
        texts=texts[0][kept] if texts else None,
    )


def find_plates(found: Found, threshold: float = THRESHOLD) -> list[PlateFound]:
    """The plates with at least this score, the surest first."""
    free = frozenset(range(len(found.characters)))
    waiting = [_candidate(found, index, free) for index in range(len(found.boards))]
    plates: list[PlateFound] = []
    boxes: list[Floats] = []
    while waiting:
        best = max(waiting, key=lambda each: each.rank)
        waiting.remove(best)
        box = found.boards.boxes[best.index]
        if _is_on(box, boxes):
            continue
        boxes.append(box)
        free -= best.taken
        # a character is on one plate only
        waiting = [each if each.taken <= free else _candidate(found, each.index, free) for each in waiting]
        plate = _said(best, box, threshold)
        if plate is not None:
            plates.append(plate)
    return sorted(plates, key=lambda plate: (-plate.score, *plate.frame.centre.tolist()))


def _is_on(box: Floats, others: Sequence[Floats]) -> bool:
    if not others:
        return False
    area = float(np.prod(box[2:] - box[:2]))
    return bool((shared_areas(box[None], np.stack(others)) > _INSIDE * area).any())


def _candidate(found: Found, index: int, free: frozenset[int]) -> _Candidate:
    """The board `index`, read as the likelier kind with the characters that are free."""
    scores = found.boards.scores[index]
    first, second = sorted(KINDS, key=lambda kind: -scores[KINDS.index(kind)])
    likelier = _read_as(found, index, first, free)
    if likelier.reading.is_whole and scores.min() < _OTHER_KIND * scores.max():
        return likelier
    return max(likelier, _read_as(found, index, second, free), key=lambda each: each.evidence)


def _read_as(found: Found, index: int, kind: Kind, free: frozenset[int]) -> _Candidate:
    frame = frame_of(found.boards.boxes[index], direction(found.turns[index]), _ASPECTS[kind])
    taken = [each for each in _on(frame, found.characters) if each in free][:_MOST_CHARACTERS]
    claims = {group: _claim(found.groups, frame, kind, group) for group in _GROUPS}
    text = None if found.texts is None else found.texts[index]
    reading = read(_characters(found.characters, taken, frame, claims), kind, text)
    kind_score = float(found.boards.scores[index, KINDS.index(kind)])
    group_scores = [claim.score if claim else 0.0 for claim in claims.values()]
    said = math.log(max(kind_score, _DOUBT)) + sum(math.log(max(score, _DOUBT)) for score in group_scores) / 2
    return _Candidate(
        index=index,
        kind=kind,
        frame=frame,
        board_score=float(found.boards.best[index]),
        reading=reading,
        evidence=reading.evidence + said,
        taken=frozenset(taken),
    )


def _on(frame: Frame, things: Things) -> list[int]:
    """Indexes of the things whose centres lie on a plate, the surest first."""
    at = np.abs(frame.seen(things.centres))
    within = (at <= (_REACH * frame.width / 2, _REACH * frame.height / 2)).all(axis=1)
    indexes: list[int] = np.flatnonzero(within).tolist()
    return indexes


def _claim(groups: Things, frame: Frame, kind: Kind, group: Group) -> _Claim | None:
    """The surest box of this kind's group on the plate."""
    column = 2 * KINDS.index(kind) + _GROUPS.index(group)
    best = max(_on(frame, groups), key=lambda each: float(groups.scores[each, column]), default=None)
    if best is None or groups.scores[best, column] < _DOUBT:
        return None
    return _Claim(
        frame=frame_of(groups.boxes[best], frame.along, _GROUP_ASPECTS), score=float(groups.scores[best, column])
    )


def _characters(things: Things, taken: list[int], frame: Frame, claims: Mapping[Group, _Claim | None]) -> Characters:
    """The characters `taken`, in their order along the plate."""
    at = frame.seen(things.centres[taken])
    order = np.argsort(at[:, 0], kind="stable")
    ordered = np.array(taken, np.int64)[order]
    centres = things.centres[ordered]
    leaning = np.zeros(len(ordered))
    for group, claim in claims.items():
        if claim is not None:
            leaning += (1 if group == "s" else -1) * _LEAN * claim.score * _inwards(claim.frame, centres)
    return Characters(scores=things.scores[ordered], at=at[order], heights=things.sizes[ordered, 1], leaning=leaning)


def _inwards(frame: Frame, places: Floats) -> Floats:
    """1 in the middle of a rectangle, 0 on its edge, down to -1 outside."""
    out = np.abs(frame.seen(places)) / (frame.width / 2, frame.height / 2)
    inwards: Floats = np.clip(1 - out.max(axis=1, initial=0.0), -1, 1)
    return inwards


def _said(candidate: _Candidate, box: Floats, threshold: float) -> PlateFound | None:
    """As much of a plate as reaches the threshold; None if not even that there is one."""
    small, main = candidate.reading.small, candidate.reading.main
    whole = [part for part in (small, main) if part.text is not None]
    alone = sorted(([part] for part in whole), key=lambda parts: -_score(candidate, parts))
    for parts in (whole, *alone, []):
        score = _score(candidate, parts) if parts else _vague_score(candidate)
        if score >= threshold:
            return PlateFound(
                kind=candidate.kind,
                frame=candidate.frame,
                box=box,
                sub_text=small.text if small in parts else None,
                main_text=main.text if main in parts else None,
                score=score,
            )
    return None


def _score(candidate: _Candidate, parts: Sequence[Part]) -> float:
    """The geometric mean of the scores of the board, of the characters of these parts, and of those of the other part.

    Of the other part the least character does not count, which may be covered; where more are hardly there, it is in
    doubt whether this is a plate.
    """
    scores = [candidate.board_score, *(score for part in parts for score in part.scores)]
    for part in (candidate.reading.small, candidate.reading.main):
        if part not in parts:
            absent = [_ABSENT] * part.characters.count(None)
            scores += sorted(absent + [max(score, _ABSENT) for score in part.scores])[1:]
    return _mean(scores)


def _vague_score(candidate: _Candidate) -> float:
    """The geometric mean of the scores of the board and of all its places, of which each counts a little at least.

    Never more than the board's own: that there is one is all that is said.
    """
    scores = [candidate.board_score]
    for part in (candidate.reading.small, candidate.reading.main):
        scores += [max(score, _VAGUE) for score in part.scores] + [_VAGUE] * part.characters.count(None)
    return min(candidate.board_score, _mean(scores))


def _mean(scores: Sequence[float]) -> float:
    """The geometric mean."""
    return math.exp(sum(math.log(max(score, 1e-9)) for score in scores) / len(scores))
