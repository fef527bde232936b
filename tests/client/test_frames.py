"""Plates of a video or of a folder of frames, by the command as users run it."""

import json
import random
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw
from services.videos import draw_video

TRUTHS = ("12A3456", "77E0012")
FRAMES = 100


def drawn(number: int) -> Image.Image:
    """Two boards that drive past each other."""
    image = Image.new("RGB", (320, 240), "grey")
    pen = ImageDraw.Draw(image)
    for box in boxes(number):
        pen.rectangle(box, fill="white", outline="black")
    return image


def boxes(number: int) -> list[list[float]]:
    lefts = 2.0 * number, 240 - 2.0 * number
    return [[left, top, left + 80, top + 20] for left, top in zip(lefts, (60, 66), strict=True)]


def misread(text: str, numbers: random.Random) -> str:
    """Each character is wrong in a quarter of the frames, so that seven of eight readings are wrong."""
    letters = ("ABCDE" if name.isalpha() else "0123456789" for name in text)
    return "".join(
        numbers.choice(choices) if numbers.random() < 0.25 else name
        for name, choices in zip(text, letters, strict=True)
    )


def replies(numbers: random.Random) -> list[dict[str, Any]]:
    found = []
    for number in range(FRAMES):
        plates = [
            {"type": "long", "score": 0.8, "sub_text": text[:3], "main_text": text[3:], "box": box}
            for truth, box in zip(TRUTHS, boxes(number), strict=True)
            if numbers.random() < 0.9  # not found at all in a tenth
            for text in [misread(truth, numbers)]
        ]
        found.append({"json": {"predictions": [plates]}})
    return found


def test_a_video_is_read_right_by_the_vote_where_single_frames_fail(client: Any, serve: Any, tmp_path: Path) -> None:
    path = draw_video(tmp_path / "drive.mp4", map(drawn, range(FRAMES)), (320, 240))
    script = replies(random.Random(1))
    server = serve({"POST /": script})
    (tmp_path / "known.txt").write_text("12A 3456\n")
    options = (
        "--url",
        server.url,
        "--jobs",
        1,
        "--tiling",
        "once",
        "--json",
        "--save",
        "crops",
        "--known",
        "known.txt",
    )
    result = client("--video", path, *options)

    assert (result.code, result.err) == (0, "")
    readings = [plate["sub_text"] + plate["main_text"] for reply in script for plate in reply["json"]["predictions"][0]]
    assert sum(reading in TRUTHS for reading in readings) < 0.3 * len(readings)
    plates = [json.loads(line) for line in result.out.splitlines()]
    assert [plate["sub_text"] + plate["main_text"] for plate in plates] == list(TRUTHS)
    assert all(80 < plate["frames"] <= FRAMES > plate["votes"] for plate in plates)
    assert plates[0]["first"]["time_s"] < 0.2
    assert plates[0]["last"]["time_s"] > 3.7
    assert plates[0]["known"]["plate"] == "12A 3456"
    assert plates[1]["known"] is None
    crops = sorted((tmp_path / "crops").iterdir())
    assert [crop.name for crop in crops] == ["12A3456.jpg", "77E0012.jpg"]
    with Image.open(crops[0]) as crop:
        assert crop.width > 80


def test_a_folder_of_frames_is_followed_in_the_order_of_numbers(client: Any, serve: Any, tmp_path: Path) -> None:
    folder = tmp_path / "frames"
    folder.mkdir()
    for number in range(1, 13):
        Image.new("RGB", (64, 48), (number,) * 3).save(folder / f"frame{number}.png")
    plate = {"type": "long", "score": 0.9, "sub_text": "12A", "main_text": "3456", "box": [0, 0, 50, 10]}
    script: list[dict[str, Any]] = [{"json": {"predictions": [[plate]]}}] * 3
    script += [{"status": 400, "json": {"error": "no"}}, {"json": {"predictions": [[plate | {"sub_text": None}]]}}]
    server = serve({"POST /": script})
    result = client(folder, "--track", "--every", 2, "--jobs", 1, "--url", server.url)

    assert result.code == 1
    assert result.out == (
        f"{folder}  6 frames, 1 plate\n"
        "  12A 3456  read in 3 of 5 frames, least agreement 100%  frame1.png to frame11.png  best frame1.png (90.0%)\n"
    )
    assert result.err == f"error: {folder}: 1 of 6 frames failed; the first: 400: no\n"


def test_other_replies_are_refused(client: Any, serve: Any, photo: Path, answer: Any) -> None:
    server = serve({"POST /": [answer]})
    result = client(photo, "--track", "--url", server.url)

    assert (result.code, result.out) == (1, "")
    assert "the reply is not of license plates, which --track and --video follow" in result.err


def test_a_file_that_is_no_video(client: Any, photo: Path) -> None:
    photo.write_bytes(b"no video")
    result = client("--video", photo)

    assert (result.code, result.out) == (2, "")
    assert result.err.startswith(f"error: {photo}: cannot be read as a video")


def test_without_its_package_a_video_is_refused(client: Any, photo: Path, tmp_path: Path) -> None:
    (tmp_path / "without" / "av").mkdir(parents=True)
    (tmp_path / "without" / "av" / "__init__.py").write_text("raise ImportError\n")
    result = client("--video", photo, PYTHONPATH=str(tmp_path / "without"))

    assert result.err == (
        "error: --video needs the package av: pip install 'shardline[video]', or give a folder of frames with --track\n"
    )
