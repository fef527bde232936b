"""Tracking of license plates over frames, and their texts by a vote of all frames, character by character.

A plate of a frame continues the track whose expected box it overlaps most (IoU), or whose text it has if the plate
moved farther between two frames. The expected box is the last one, moved on by the last displacement. In each track
every frame votes for each character with that character's score, or with the plate's where the server reports none: a
few misread frames do not outvote many that were read right. Memory grows with the number of plates, not of frames.
"""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

import numpy as np

from shardline.client.known import edit_distance
from shardline.client.plates import Box, Plate, Point, join_groups
from shardline.wire.boxes import iou

LEAST_FRAMES = 2  # in which a plate must be seen, by default

_MOST_GAP = 15  # frames in a row without the plate after which its track ends
_LEAST_IOU = 0.1  # of two boxes that may be of one plate
_SURE_IOU = 0.5  # from which on the texts need not be alike
_ALIKE, _SAME_TEXT = 0.4, 0.75  # least similarity of the texts: where boxes overlap a little, and where they do not
_REACH = 3.0  # how many plate widths a plate with the same text may move per frame
_MOST_TEXTS = 400  # different texts of a track that are counted

Reading = tuple[tuple[str, str | None], ...]  # name and text of each group, in reading order


@dataclass(frozen=True, slots=True, kw_only=True)
class FramePosition:
    """A frame's number from 0, its time in seconds (None: unknown), and its name for messages."""

    number: int
    time_s: float | None
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """A plate in one frame, and its crop as a JPEG file."""

    frame: FramePosition
    plate: Plate
    crop: bytes


class GroupVotes:
    """Votes for the characters of one group of a plate. Texts of another length than most do not count in the end."""

    def __init__(self) -> None:
        self._lengths: Counter[int] = Counter()
        self._characters: Counter[tuple[int, int, str]] = Counter()  # length, position, character

    def add(self, text: str, weights: Sequence[float]) -> None:
        """Vote for a text with a weight for each character; a character that is no letter or digit gets no vote."""
        self._lengths[len(text)] += max(weights, default=0)  # type: ignore[assignment]
        for position, (character, weight) in enumerate(zip(text, weights, strict=True)):
            if character.isalnum():
                self._characters[len(text), position, character] += weight  # type: ignore[assignment]

    def merge(self, other: "GroupVotes") -> None:
        """Add the votes of another group."""
        self._lengths.update(other._lengths)
        self._characters.update(other._characters)

    def result(self) -> tuple[str | None, list[float]]:
        """The text with the most votes, and the share of the votes of each of its characters; None: no votes."""
        if not self._lengths:
            return None, []
        length = max(self._lengths, key=lambda key: (self._lengths[key], key))
        text, shares = "", []
        for position in range(length):
            votes = {key[2]: weight for key, weight in self._characters.items() if key[:2] == (length, position)}
            best = max(votes, key=lambda character: (votes[character], character), default="?")
            text += best
            shares.append(votes[best] / sum(votes.values()) if votes else 0.0)
        return text, shares


@dataclass(slots=True, kw_only=True)
class Track:
    """One plate over several frames.

    Attributes:
        first: its first frame; `last` is its last one.
        best: the sighting with the highest score, one that is read completely before others.
        frames: the number of frames that show it.
        texts: how often each reading came; rare ones may be left out.
    """

    first: FramePosition
    last: FramePosition
    best: Sighting
    frames: int = 0
    texts: Counter[Reading] = field(default_factory=Counter)
    _groups: dict[str, GroupVotes] = field(default_factory=dict)
    _box: Box = (0.0, 0.0, 0.0, 0.0)
    _step: Point = (0.0, 0.0)  # displacement for each frame
    _count: int = 0  # frames that the tracker had seen at the last sighting

    @property
    def reading(self) -> Reading:
        """The groups by the vote of all frames."""
        return tuple((name, votes.result()[0]) for name, votes in self._groups.items())

    @property
    def whole(self) -> bool:
        """Tell whether each group was read in some frame."""
        return bool(self._groups) and all(text for _, text in self.reading)

    @property
    def text(self) -> str:
        """Text by the vote of all frames, with question marks for a group that no frame read."""
        return join_groups(dict(self.reading))

    @property
    def shares(self) -> list[float]:
        """The share of the votes that each character of the text has, from 0 to 1."""
        return [share for votes in self._groups.values() for share in votes.result()[1]]

    @property
    def votes(self) -> int:
        """The number of frames that read exactly the text of the vote."""
        return self.texts[self.reading]

    def add(self, count: int, frame: FramePosition, plate: Plate, crop: Callable[[Plate], bytes]) -> None:
        """Add the plate of the `count`-th frame; `crop` is called if it is the best so far."""
        passed = max(1, self.gap(count))
        if self.frames:
            x, y = _centre(self._box)
            self._step = (plate.center[0] - x) / passed, (plate.center[1] - y) / passed
        self._box, self._count, self.last, self.frames = plate.box, count, frame, self.frames + 1
        for (name, text), weights in zip(plate.groups.items(), _weights(plate), strict=True):
            votes = self._groups.setdefault(name, GroupVotes())
            if text:
                votes.add(text, weights)
        self.texts[tuple(plate.groups.items())] += 1
        if len(self.texts) > _MOST_TEXTS:
            self.texts = Counter(dict(self.texts.most_common(_MOST_TEXTS // 2)))
        if not self.best.crop or _rank(plate) > _rank(self.best.plate):
            self.best = Sighting(frame=frame, plate=plate, crop=crop(plate))

    def gap(self, count: int) -> int:
        """Number of frames from the last sighting to the `count`-th frame."""
        return count - self._count

    def expected_box(self, count: int) -> Box:
        """The box where the plate is expected in the `count`-th frame."""
        right, down = self._step[0] * self.gap(count), self._step[1] * self.gap(count)
        left, top, other, bottom = self._box
        return left + right, top + down, other + right, bottom + down

    def absorb(self, other: "Track") -> None:
        """Add a later track of the same plate."""
        self.last, self.frames = other.last, self.frames + other.frames
        self.texts.update(other.texts)
        for name, theirs in other._groups.items():
            self._groups.setdefault(name, GroupVotes()).merge(theirs)
        if _rank(other.best.plate) > _rank(self.best.plate):
            self.best = other.best


class PlateTracker:
    """Follows plates from frame to frame. Frames are added in their order, and some may have been left out between."""

    def __init__(self, least: int = LEAST_FRAMES) -> None:
        """
        Args:
            least: number of frames that a plate must be seen in.
        """
        self._least = least
        self._count = 0
        self._active: list[Track] = []
        self._ended: list[Track] = []
        self.hidden = 0  # tracks of fewer frames, which have ended

    def update(self, frame: FramePosition, plates: Sequence[Plate], crop: Callable[[Plate], bytes]) -> None:
        """Add the plates of one frame; `crop` cuts one out of the frame and is called for the best ones."""
        self._count += 1
        self._end(lambda track: track.gap(self._count) > _MOST_GAP)
        pairs = [
            (score, place, index)
            for place, track in enumerate(self._active)
            for index, plate in enumerate(plates)
            if (score := _likeness(track, self._count, plate))
        ]
        continued: dict[int, int] = {}  # plate -> track
        for _, place, index in sorted(pairs, reverse=True):
            if index not in continued and place not in continued.values():
                continued[index] = place
        for index, plate in enumerate(plates):
            if index in continued:
                track = self._active[continued[index]]
            else:
                track = Track(first=frame, last=frame, best=Sighting(frame=frame, plate=plate, crop=b""))
                self._active.append(track)
            track.add(self._count, frame, plate, crop)

    def finish(self) -> list[Track]:
        """End all tracks and return the plates in the order of their first frames; tracks of one text are one plate."""
        self._end(lambda _: True)
        return sorted(self._ended, key=lambda track: track.first.number)

    def _end(self, has_ended: Callable[[Track], bool]) -> None:
        """End tracks: those of too few frames are counted and forgotten, unless their text is known from another."""
        ended = [track for track in self._active if has_ended(track)]
        if not ended:
            return
        self._active = [track for track in self._active if not has_ended(track)]
        merged = _merged([*self._ended, *ended])
        self._ended = [track for track in merged if track.frames >= self._least]
        self.hidden += len(merged) - len(self._ended)


def _merged(tracks: Sequence[Track]) -> list[Track]:
    """Tracks of which those with the same complete text are one."""
    kept: list[Track] = []
    by_text: dict[Reading, Track] = {}
    for track in sorted(tracks, key=lambda track: track.first.number):
        reading = track.reading
        if track.whole and reading in by_text:
            by_text[reading].absorb(track)
        else:
            kept.append(track)
            by_text[reading] = track
    return kept


def _likeness(track: Track, count: int, plate: Plate) -> float:
    """Sum of the overlap with the expected box and of the texts' similarity; 0 if it is another plate."""
    expected = track.expected_box(count)
    overlap = float(iou(np.array([expected]), np.array([plate.box]))[0, 0])
    alike = _similarity(dict(track.reading), plate.groups)
    (x, y), passed = _centre(expected), track.gap(count)
    near = math.hypot(plate.center[0] - x, plate.center[1] - y) < _REACH * plate.width * passed
    same = (
        overlap >= _SURE_IOU
        or (overlap >= _LEAST_IOU and (alike is None or alike >= _ALIKE))
        or (near and alike is not None and alike >= _SAME_TEXT)
    )
    return overlap + (alike or 0.0) if same else 0.0


def _similarity(first: Mapping[str, str | None], second: Mapping[str, str | None]) -> float | None:
    """1 minus the edit distance by the length, of the groups that both have; None if they have none in common."""
    pairs = [(mine, theirs) for name, mine in first.items() if mine and (theirs := second.get(name))]
    if not pairs:
        return None
    length = sum(max(len(mine), len(theirs)) for mine, theirs in pairs)
    return 1 - sum(edit_distance(mine, theirs) for mine, theirs in pairs) / length


def _weights(plate: Plate) -> list[list[float]]:
    """Weights of the characters of each group: their scores where the server reports them, else the plate's score."""
    counts = [len(text or "") for text in plate.groups.values()]
    scores = [score for _, score in plate.characters]
    if len(scores) != sum(counts):
        scores = [plate.score] * sum(counts)
    left = iter(scores)
    return [list(islice(left, count)) for count in counts]


def _rank(plate: Plate) -> tuple[bool, float, float]:
    return plate.whole, plate.score, plate.width


def _centre(box: Box) -> Point:
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
