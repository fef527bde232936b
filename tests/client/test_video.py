"""Frames of video files."""

import io
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from services.videos import draw_video

from shardline.client.video import format_time, video_frames
from shardline.wire.errors import FileError


def plain(count: int) -> list[Image.Image]:
    """Frames whose grey is their number."""
    return [Image.new("RGB", (64, 48), (5 * number,) * 3) for number in range(count)]


def test_frames_have_their_numbers_and_times(tmp_path: Path) -> None:
    path = draw_video(tmp_path / "a.mp4", plain(20), (64, 48), Fraction(10))
    frames = list(video_frames(path))

    assert [frame.position.number for frame in frames] == list(range(20))
    assert [frame.position.time_s for frame in frames[:3]] == [0.0, 0.1, 0.2]
    assert frames[15].position.name == "0:01.50"
    with Image.open(io.BytesIO(frames[15].picture)) as picture:
        assert picture.format == "JPEG"
        assert picture.size == (64, 48)
        assert np.asarray(picture).mean() == pytest.approx(75, abs=4)


def test_frames_may_be_left_out(tmp_path: Path) -> None:
    path = draw_video(tmp_path / "a.mp4", plain(20), (64, 48), Fraction(10))

    assert [frame.position.number for frame in video_frames(path, every=6)] == [0, 6, 12, 18]
    assert [frame.position.number for frame in video_frames(path, fps=4)] == [0, 3, 5, 8, 10, 13, 15, 18]
    assert len(list(video_frames(path, fps=100))) == 20


def test_files_that_are_no_videos(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"not a video" * 100)

    with pytest.raises(FileError, match=r"a\.mp4: cannot be read as a video"):
        list(video_frames(tmp_path / "a.mp4"))
    with pytest.raises(FileError, match="No such file"):
        list(video_frames(tmp_path / "b.mp4"))


def test_times_are_minutes_and_seconds() -> None:
    assert [format_time(seconds) for seconds in (0, 59.999, 83.25, 3600)] == [
        "0:00.00",
        "1:00.00",
        "1:23.25",
        "60:00.00",
    ]
