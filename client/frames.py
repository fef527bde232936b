"""License plates of many frames: frames of a folder or a video are predicted, tracked, and voted over."""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from shardline.client.known import KnownPlates
from shardline.client.pictures import Source, encode_jpeg, open_upright, read_source
from shardline.client.plates import Plate, known_text, plates_in
from shardline.client.predictor import Outcome, Predictor
from shardline.client.terminal import TerminalStyle
from shardline.client.tracking import LEAST_FRAMES, FramePosition, PlateTracker, Track
from shardline.client.video import SentFrame
from shardline.client.waiting import in_order
from shardline.wire.errors import FileError, PredictorDownError, PredictorError, ShardlineError
from shardline.wire.text import printable

_CROP_MARGIN = 0.25  # around a plate's box, as a share of its sides


@dataclass(slots=True, kw_only=True)
class FrameReport:
    """Plates of all frames, the number of frames, and the errors of those that failed: the first, and how many.

    `hidden` is the number of plates that were seen in too few frames.
    """

    tracks: list[Track] = field(default_factory=list)
    hidden: int = 0
    frames: int = 0
    failed: int = 0
    error: ShardlineError | None = None


def folder_frames(sources: Sequence[Source], timeout_s: float, every: int = 1) -> Iterator[SentFrame]:
    """Frames that are picture files, every `every`-th, in the order of their names, in which 10 follows 9.

    Raises:
        FileError: a file cannot be read.
    """
    ordered = sorted(sources, key=lambda source: [_natural(part) for part in re.split(r"(\d+)", str(source))])
    for number, source in enumerate(ordered):
        if number % every == 0:
            position = FramePosition(number=number, time_s=None, name=Path(str(source)).name)
            yield SentFrame(position=position, picture=read_source(source, timeout_s))


def track_plates(
    frames: Iterable[SentFrame],
    predictor: Predictor,
    *,
    jobs: int,
    least: int = LEAST_FRAMES,
    progress: Callable[[int], None] = lambda _: None,
) -> FrameReport:
    """Predict frames, `jobs` at a time, and follow plates that are in at least `least`. A frame that fails is left out.

    Raises:
        PredictorDownError: the server cannot be reached.
        PredictorError: the server's replies are not of license plates.
        FileError: there is no frame at all.
    """
    report, tracker = FrameReport(), PlateTracker(least)

    def predict(frame: SentFrame) -> tuple[SentFrame, Outcome]:
        return frame, predictor.predict(frame.picture)

    try:
        for frame, outcome in in_order(predict, frames, jobs):
            report.frames += 1
            if outcome.reply is not None:
                plates = plates_in(outcome.reply.predictions)
                if plates is None:
                    raise PredictorError("the reply is not of license plates, which --track and --video follow", 502)
                tracker.update(frame.position, plates, _Cropper(frame.picture))
            elif isinstance(outcome.error, PredictorDownError):
                raise outcome.error
            else:
                report.failed += 1
                report.error = report.error or outcome.error
            progress(report.frames)
    except FileError as exc:
        if not report.frames:
            raise
        report.failed += 1  # the frames so far count
        report.error = exc
    report.tracks, report.hidden = tracker.finish(), tracker.hidden
    return report


class _Cropper:
    """Cuts plates out of one frame, which is decoded for the first one."""

    def __init__(self, picture: bytes) -> None:
        self._picture = picture

    def __call__(self, plate: Plate) -> bytes:
        image = open_upright(self._picture)
        left, top, right, bottom = plate.box
        across, down = _CROP_MARGIN * (right - left), _CROP_MARGIN * (bottom - top)
        box = (
            *(max(0, round(left - across)), max(0, round(top - down))),
            *(min(image.width, round(right + across) + 1), min(image.height, round(bottom + down) + 1)),
        )
        return encode_jpeg(image.crop(box), subsampling=0)


def track_lines(name: str, report: FrameReport, known: KnownPlates | None, style: TerminalStyle) -> str:
    """A heading, and one line for each plate: text, frames that read it, times, and the best frame."""
    plates = "1 plate" if len(report.tracks) == 1 else f"{len(report.tracks)} plates"
    lines = [f"{style.bold(printable(name))}  {report.frames} frames, {plates}"]
    for track in report.tracks:
        text = style.bold(track.text) if track.whole else style.warning(track.text)
        share = min(track.shares, default=0.0)
        lines.append(
            f"  {text}  read in {track.votes} of {track.frames} frames, least agreement {share:.0%}  "
            f"{track.first.name} to {track.last.name}  best {track.best.frame.name} ({track.best.plate.score:.1%})"
        )
        found = known_text(known.facts(_voted(track))) if known else None
        lines += [f"    {found}"] if found else []
    if report.hidden:
        lines.append(style.faint(f"  left out: {report.hidden} that were seen in too few frames (--least-frames)"))
    return "\n".join(lines)


def track_json(name: str, report: FrameReport, known: KnownPlates | None) -> list[str]:
    """One line of JSON for each plate."""
    return [json.dumps(_document(name, track, known)) for track in report.tracks]


def save_crops(folder: Path, report: FrameReport) -> None:
    """Write the best crop of each plate into a folder, as TEXT.jpg.

    Raises:
        FileError: it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for number, track in enumerate(report.tracks, 1):
            text = "".join(character for character in track.text if character.isalnum())
            whole = track.whole and text
            (folder / (f"{text}.jpg" if whole else f"plate-{number}.jpg")).write_bytes(track.best.crop)
    except OSError as exc:
        raise FileError(f"{folder}: crops cannot be written ({exc.strerror})") from exc


def _voted(track: Track) -> Plate:
    """The best sighting with the text of the vote, and the shares of the votes as scores of the characters."""
    characters = zip("".join(text or "" for _, text in track.reading), track.shares, strict=True)
    return replace(track.best.plate, groups=dict(track.reading), candidates=(), characters=tuple(characters))


def _document(name: str, track: Track, known: KnownPlates | None) -> dict[str, Any]:
    plate = track.best.plate
    return {
        "source": name,
        "type": plate.kind,
        **dict(track.reading),
        "frames": track.frames,
        "votes": track.votes,
        "shares": [round(share, 4) for share in track.shares],
        "first": _frame(track.first),
        "last": _frame(track.last),
        "best": {**_frame(track.best.frame), "score": plate.score, "box": list(plate.box)},
        **(known.facts(_voted(track)) if known else {}),
    }


def _frame(position: FramePosition) -> dict[str, Any]:
    return {"frame": position.number, "time_s": position.time_s, "name": position.name}


def _natural(part: str) -> tuple[int, int, str]:
    return (0, int(part), "") if part.isdecimal() else (1, 0, part)
