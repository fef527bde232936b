"""License plates: the detector's outputs -> position, kind and text of each plate in a picture.

Matching: every board is read as each type of the grammar, with the characters that lie on it, and the likelier
reading is kept: by the board's score for that kind, by the boxes of groups of that kind on it, and above all by how
well the characters form a text of that kind. So a board of uncertain kind, or one whose groups were missed, is read all
the same. Boards are taken in the order of their rank; a character belongs to one plate only.

Score: the geometric mean of the scores of the board and of all characters in the reply, eight at most. A minimum would
give up a plate for one faint character that the other seven make certain; a product would be small for every plate. A
reply has as much of a plate as reaches the threshold: both groups, or the surer one, or only that there is a plate that
cannot be read. Characters that are left out of the reply count, too: what looks like a board and bears four digits
alone, or nothing, is seldom a plate.

The reply is in pixels of the picture that was sent; docs/tasks.md describes it.
"""

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from shardline.tasks.plates.candidates import TextCandidate, text_candidates
from shardline.tasks.plates.detections import (
    Detections,
    Floats,
    OrientedBox,
    PictureDetections,
    detector_arrays,
    oriented_box,
    picture_detections,
    unit_direction,
)
from shardline.tasks.plates.grammar import AspectRatios, PlateGrammar, built_in, option_grammar
from shardline.tasks.plates.search import Characters, Reading, read_text
from shardline.tasks.request import Options, Outputs, Request, check_names
from shardline.wire.boxes import intersections
from shardline.wire.errors import FrameError, RequestError
from shardline.wire.limits import PLATE_SCORE
from shardline.wire.view import View

PARAMETERS = frozenset({"threshold"})

Plate = dict[str, Any]  # one plate as JSON

_GROUP_ASPECTS = AspectRatios(least=0.8, usual=2.3, most=6.0)
_REACH = 1.1  # a character's centre may lie this many half sides from the plate's centre
_MOST_CHARACTERS = 16  # on one plate, highest score first
_INSIDE = 0.7  # a board is no other plate if this share of it lies on a plate that was read
_DOUBT = 0.02  # the least that a board's or a group's score counts, so that characters can outweigh it
_OTHER_KIND = 0.1  # a board that can be read as its likelier kind is not tried as the other if that scores so much less
_VAGUE = 0.4  # score of a missing or faint character, for a plate that cannot be read
_ABSENT = 0.3  # the least score of a character of a group that is left out of the reply
_FAINT = 0.4  # a group is reported if each of its characters scores this share of the threshold
_LEAN = 2.0  # log odds that a group's box of score 1 gives to a character in its middle
_DECIMALS, _SCORE_DECIMALS = 1, 4


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectedPlate:
    """One plate, in pixels of the network's input.

    `texts` has the text of each group by its name, in reading order; None where it cannot be read.
    """

    kind: str
    outline: OrientedBox
    box: Floats  # float64 [4], of the board: left, top, right, bottom
    texts: Mapping[str, str | None]
    score: float
    candidates: tuple[TextCandidate, ...]
    characters: tuple[tuple[str, float], ...]  # of the text that is reported, in reading order, with their scores


@dataclass(frozen=True, slots=True, kw_only=True)
class _GroupBox:
    """The box of a character group on a plate, in the plate's direction, with its score."""

    outline: OrientedBox
    score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Candidate:
    """One board, read as one kind. `evidence` is the log chance of all that speaks for this reading."""

    index: int
    kind: str
    outline: OrientedBox
    board_score: float
    reading: Reading
    evidence: float
    taken: frozenset[int]  # indexes of the characters that lie on it
    grammar: PlateGrammar

    @property
    def rank(self) -> float:
        """Log of the mean score of the board and its characters, those not found included."""
        count = 1 + len(self.grammar.alphabets)
        return (math.log(max(self.board_score, _DOUBT)) + self.reading.log_score) / count


def reply(request: Request) -> list[list[Plate]]:
    """Build the plates of each instance from the last shard's outputs, highest score first.

    Parameters: "threshold", over 0 and at most 1: the least score of a plate; 0.7 by default. A low one lists possible
    plates, too.

    Args:
        request: outputs of the detector, float [batch, n, …], and one view for each instance.

    Raises:
        RequestError: an unknown parameter, or a threshold out of range.
        BundleError: these are no outputs of a plate detector.
        FrameError: the frame has no views, so positions in the pictures that were sent are unknown.
        ShardlineError: NaN or infinity among the outputs.
    """
    threshold, grammar = _threshold(request.parameters), option_grammar(request.options)
    count = len(detector_arrays(request.outputs, grammar)[0])
    if len(request.views) != count:
        raise FrameError(
            f"a frame has {len(request.views)} views for {count} instances; allowed: one each, for plates are answered "
            "in pixels of the picture that was sent; serve the transformer and all stages from one release"
        )
    return [
        read_plates(request.outputs, view, threshold, instance=instance, grammar=grammar)
        for instance, view in enumerate(request.views)
    ]


def read_plates(
    outputs: Outputs,
    view: View,
    threshold: float = PLATE_SCORE,
    *,
    instance: int = 0,
    grammar: PlateGrammar | None = None,
) -> list[Plate]:
    """Read the plates in one picture of a batch, as JSON, highest score first.

    Args:
        outputs: the detector's in their order, float [batch, n, …].
        view: mapping of the network's pixels to the picture.
        threshold: least score of a plate.
        instance: index of the picture in the batch.
        grammar: of the plates; None: the built-in one.

    Raises:
        BundleError, ShardlineError: as `reply`.
    """
    plates = (_to_json(plate, view) for plate in _plates(outputs, instance, grammar or built_in(), threshold))
    return [plate for plate in plates if plate is not None]


def answers(outputs: Outputs, options: Options) -> Sequence[Hashable]:
    """Kinds and texts that are read in each picture at the default threshold, wherever the plates are.

    Args:
        outputs: the detector's in their order, float [batch, n, …].
        options: of the task, as the bundle has them.

    Raises:
        BundleError, ShardlineError: as `reply`.
    """
    grammar = option_grammar(options)
    return [
        tuple(
            sorted(
                (plate.kind, *(text or "" for text in plate.texts.values()))
                for plate in _plates(outputs, instance, grammar)
            )
        )
        for instance in range(len(detector_arrays(outputs, grammar)[0]))
    ]


def find_plates(found: PictureDetections, threshold: float = PLATE_SCORE) -> list[DetectedPlate]:
    """Match boards with characters to plates of at least this score, highest score first."""
    free = frozenset(range(len(found.characters)))
    waiting = [_candidate(found, index, free) for index in range(len(found.boards))]
    plates: list[DetectedPlate] = []
    boxes: list[Floats] = []
    while waiting:
        best = max(waiting, key=lambda candidate: candidate.rank)
        waiting.remove(best)
        box = found.boards.boxes[best.index]
        if _is_on(box, boxes):
            continue
        boxes.append(box)
        free -= best.taken
        # a character belongs to one plate only: boards that had counted on it are read again without it
        waiting = [
            candidate if candidate.taken <= free else _candidate(found, candidate.index, free) for candidate in waiting
        ]
        plate = _plate(best, box, threshold)
        if plate is not None:
            plates.append(plate)
    return sorted(plates, key=lambda plate: (-plate.score, *plate.outline.centre.tolist()))


def _threshold(parameters: Mapping[str, object]) -> float:
    check_names(parameters, PARAMETERS)
    threshold = parameters.get("threshold", PLATE_SCORE)
    if not isinstance(threshold, int | float) or isinstance(threshold, bool) or not 0 < threshold <= 1:
        raise RequestError(f"parameter threshold is {str(threshold)[:40]!r}; allowed: a number over 0, up to 1")
    return float(threshold)


def _plates(
    outputs: Outputs, instance: int, grammar: PlateGrammar, threshold: float = PLATE_SCORE
) -> list[DetectedPlate]:
    return find_plates(picture_detections(outputs, instance, threshold, grammar), threshold)


def _is_on(box: Floats, others: Sequence[Floats]) -> bool:
    """Tell whether most of a box [4] lies on one of some others."""
    if not others:
        return False
    area = float(np.prod(box[2:] - box[:2]))
    return bool((intersections(box[None], np.stack(others)) > _INSIDE * area).any())


def _candidate(found: PictureDetections, index: int, free: frozenset[int]) -> _Candidate:
    """Read the board `index` as its likeliest type, with the characters that are free."""
    scores = found.boards.scores[index]
    first, *others = sorted(range(len(scores)), key=lambda kind: -scores[kind])
    likelier = _read_as(found, index, first, free)
    if likelier.reading.is_whole and all(scores[other] < _OTHER_KIND * scores[first] for other in others):
        return likelier
    return max(
        (likelier, *(_read_as(found, index, other, free) for other in others)), key=lambda candidate: candidate.evidence
    )


def _read_as(found: PictureDetections, index: int, kind: int, free: frozenset[int]) -> _Candidate:
    """Read the board `index` as the type number `kind` of the grammar."""
    grammar = found.grammar
    plate_type = grammar.types[kind]
    outline = oriented_box(found.boards.boxes[index], unit_direction(found.directions[index]), plate_type.aspect)
    taken = [character for character in _on(outline, found.characters) if character in free][:_MOST_CHARACTERS]
    count = len(grammar.groups)
    groups = [_group_box(found.groups, outline, count * kind + group) for group in range(count)]
    whole = None if found.texts is None else found.texts[index]
    reading = read_text(_characters(found.characters, taken, outline, groups), plate_type.name, whole, grammar)
    kind_score = float(found.boards.scores[index, kind])
    group_scores = [group.score if group else 0.0 for group in groups]
    boxes = math.log(max(kind_score, _DOUBT)) + sum(math.log(max(score, _DOUBT)) for score in group_scores) / 2
    return _Candidate(
        index=index,
        kind=plate_type.name,
        outline=outline,
        board_score=float(found.boards.best[index]),
        reading=reading,
        evidence=reading.evidence + boxes,
        taken=frozenset(taken),
        grammar=grammar,
    )


def _on(outline: OrientedBox, detections: Detections) -> list[int]:
    """Indexes of the detections whose centres lie on a plate, highest score first."""
    at = np.abs(outline.to_local(detections.centres))
    within = (at <= (_REACH * outline.width / 2, _REACH * outline.height / 2)).all(axis=1)
    indexes: list[int] = np.flatnonzero(within).tolist()
    return indexes


def _group_box(groups: Detections, outline: OrientedBox, column: int) -> _GroupBox | None:
    """The box on the plate with the highest score for the class `column`."""
    best = max(_on(outline, groups), key=lambda index: float(groups.scores[index, column]), default=None)
    if best is None or groups.scores[best, column] < _DOUBT:
        return None
    return _GroupBox(
        outline=oriented_box(groups.boxes[best], outline.along, _GROUP_ASPECTS),
        score=float(groups.scores[best, column]),
    )


def _characters(
    detections: Detections, taken: list[int], outline: OrientedBox, groups: Sequence[_GroupBox | None]
) -> Characters:
    """The characters `taken`, in their order along the plate, with what the groups' boxes claim of them."""
    at = outline.to_local(detections.centres[taken])
    order = np.argsort(at[:, 0], kind="stable")
    ordered = np.array(taken, np.int64)[order]
    centres = detections.centres[ordered]
    claims = np.zeros((len(ordered), len(groups)))
    for column, group in enumerate(groups):
        if group is not None:
            claims[:, column] = _LEAN * group.score * _centrality(group.outline, centres)
    return Characters(
        scores=detections.scores[ordered],
        at=at[order],
        widths=detections.sizes[ordered, 0],
        heights=detections.sizes[ordered, 1],
        claims=claims,
    )


def _centrality(outline: OrientedBox, points: Floats) -> Floats:
    """Points [n, 2] -> [n]: 1 in the middle of a rectangle, 0 on its edge, down to -1 outside."""
    out = np.abs(outline.to_local(points)) / (outline.width / 2, outline.height / 2)
    inwards: Floats = np.clip(1 - out.max(axis=1, initial=0.0), -1, 1)
    return inwards


def _plate(candidate: _Candidate, box: Floats, threshold: float) -> DetectedPlate | None:
    """The parts of a plate that reach the threshold; None if its presence does not."""
    readings = candidate.reading.groups
    whole = [
        index
        for index, group in enumerate(readings)
        if group.text is not None and min(group.scores) >= _FAINT * threshold
    ]
    alone = sorted(([index] for index in whole), key=lambda indexes: -_score(candidate, indexes))
    for reported in (whole, *alone, []):
        score = _score(candidate, reported) if reported else _vague_score(candidate)
        if score >= threshold:
            return DetectedPlate(
                kind=candidate.kind,
                outline=candidate.outline,
                box=box,
                texts={
                    group.name: readings[index].text if index in reported else None
                    for index, group in enumerate(candidate.grammar.groups)
                },
                score=score,
                candidates=tuple(text_candidates(candidate.reading)),
                characters=tuple(
                    (character, character_score)
                    for index in reported
                    for character, character_score in zip(
                        readings[index].text or "", readings[index].scores, strict=True
                    )
                ),
            )
    return None


def _score(candidate: _Candidate, reported: Sequence[int]) -> float:
    """Geometric mean of the scores of the board, of the characters of the groups `reported`, and of the other groups'.

    The least character of another group does not count, since it may be covered; where more are faint, it is doubtful
    whether this is a plate.
    """
    groups = candidate.reading.groups
    scores = [candidate.board_score, *(score for index in reported for score in groups[index].scores)]
    for index, group in enumerate(groups):
        if index not in reported:
            absent = [_ABSENT] * group.characters.count(None)
            scores += sorted(absent + [max(score, _ABSENT) for score in group.scores])[1:]
    return _geometric_mean(scores)


def _vague_score(candidate: _Candidate) -> float:
    """Geometric mean of the scores of the board and of all its positions, each of which counts at least `_VAGUE`.

    It never exceeds the board's own score, since the reply says no more than that there is a plate.
    """
    scores = [candidate.board_score]
    for group in candidate.reading.groups:
        scores += [max(score, _VAGUE) for score in group.scores] + [_VAGUE] * group.characters.count(None)
    return min(candidate.board_score, _geometric_mean(scores))


def _geometric_mean(scores: Sequence[float]) -> float:
    return math.exp(sum(math.log(max(score, 1e-9)) for score in scores) / len(scores))


def _to_json(plate: DetectedPlate, view: View) -> Plate | None:
    """One plate as JSON; None if all of it lies outside the picture, in the margin of a letterbox."""
    size = view.width, view.height
    box = np.clip(view.to_picture(plate.box.reshape(2, 2)), 0, size)
    if not (box[1] > box[0]).all():
        return None
    quad = view.to_picture(plate.outline.corners)
    upper, left = quad[1] - quad[0], quad[3] - quad[0]
    missing = [name for name, text in plate.texts.items() if text is None]
    return {
        "type": plate.kind,
        "board_center_p": _rounded(np.clip(view.to_picture(plate.outline.centre), 0, size)),
        "width": round(math.hypot(*upper), _DECIMALS),
        "height": round(math.hypot(*left), _DECIMALS),
        "angle": round(math.degrees(math.atan2(upper[1], upper[0])), _DECIMALS),
        **plate.texts,
        "score": _share(plate.score),
        "box": _rounded(box.ravel()),
        "quad": [_rounded(corner) for corner in quad],
        **({"missing": missing} if missing else {}),
        "candidates": [
            {**dict(zip(plate.texts, candidate.texts, strict=True)), "probability": _share(candidate.probability)}
            for candidate in plate.candidates
        ],
        "characters": [{"character": character, "score": _share(score)} for character, score in plate.characters],
    }


def _share(value: float) -> float:
    return round(min(value, 1.0), _SCORE_DECIMALS)


def _rounded(values: Floats) -> list[float]:
    return [round(value, _DECIMALS) for value in values.tolist()]
