"""Frames of a video file, by PyAV (package `av`, extra `video`), as JPEG pictures with their times."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from shardline.client.pictures import encode_jpeg
from shardline.client.tracking import FramePosition
from shardline.wire.errors import FileError, MissingPackageError

if TYPE_CHECKING:
    import av


@dataclass(frozen=True, slots=True, kw_only=True)
class SentFrame:
    """One frame to send: its position, and its encoded picture."""

    position: FramePosition
    picture: bytes


def video_frames(path: Path, *, every: int = 1, fps: float | None = None) -> Iterator[SentFrame]:
    """Decode every `every`-th frame of a video, or about `fps` frames a second, turned upright.

    Raises:
        MissingPackageError: PyAV is not installed.
        FileError: not a video, or damaged; frames before the damage were yielded.
    """
    try:
        import av
    except ImportError as exc:
        raise MissingPackageError(
            "--video needs the package av: pip install 'shardline[video]', or give a folder of frames with --track"
        ) from exc
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise FileError(f"{path}: no video in this file")
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            due_s = 0.0
            for number, frame in enumerate(container.decode(stream)):
                time_s = _time_s(frame, number, stream)
                if fps is not None and time_s + 1e-6 < due_s:
                    continue
                if fps is None and number % every:
                    continue
                due_s = max(due_s + 1 / fps, time_s) if fps else 0.0
                yield SentFrame(position=_position(number, time_s), picture=encode_jpeg(_upright(frame)))
    except av.FFmpegError as exc:
        raise FileError(f"{path}: cannot be read as a video ({exc.strerror or exc})") from exc


def format_time(seconds: float) -> str:
    """A time in a video: 83.25 -> '1:23.25'."""
    minutes, rest = divmod(round(seconds, 2), 60)
    return f"{minutes:.0f}:{rest:05.2f}"


def _position(number: int, time_s: float) -> FramePosition:
    return FramePosition(number=number, time_s=round(time_s, 3), name=format_time(time_s))


def _time_s(frame: "av.VideoFrame", number: int, stream: "av.VideoStream") -> float:
    """Time of a frame; where the file has none, by the frame rate."""
    if frame.time is not None:
        return float(frame.time)
    return number / float(stream.average_rate or 25)


def _upright(frame: "av.VideoFrame") -> Image.Image:
    """The frame as a picture, turned as the video's display matrix says: phones record sideways."""
    image: Image.Image = frame.to_image()  # type: ignore[no-untyped-call]
    turned = getattr(frame, "rotation", 0) % 360
    return image.rotate(turned, expand=True) if turned else image
