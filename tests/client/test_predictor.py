"""Photographs with plates, sent by the command to a real server: replies are in the photograph's own pixels."""

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from services.plate_pictures import Box, saved, with_plates

from shardline.wire.limits import MIB


def predictions(result: Any) -> list[dict[str, Any]]:
    assert result.code == 0, result.err
    (line,) = result.out.splitlines()
    found: list[dict[str, Any]] = json.loads(line)["predictions"]
    return found


def off_by(plate: dict[str, Any], box: Box) -> float:
    """Largest error in pixels over all sides and corners."""
    left, top, right, bottom = box
    corners = [[left, top], [right, top], [right, bottom], [left, bottom]]
    pairs: list[tuple[float, float]] = [*zip(plate["box"], box, strict=True)]
    for found, expected in zip(plate["quad"], corners, strict=True):
        pairs += zip(found, expected, strict=True)
    pairs += zip(plate["board_center_p"], ((left + right) / 2, (top + bottom) / 2), strict=True)
    pairs += [(plate["width"], right - left), (plate["height"], bottom - top)]
    return max(abs(found - expected) for found, expected in pairs)


def test_a_photograph_over_6_mb_comes_back_in_its_own_pixels(
    client: Any, reader: Any, photograph: Image.Image, tmp_path: Path
) -> None:
    """Also one that lies on its side, which EXIF says."""
    box = (2000, 1000, 2900, 1600)
    path = saved(with_plates(photograph, cyan=box), tmp_path / "large.jpg", turned=True)
    result = client(path, "--url", reader.url, "--json", "--tiling", "once")

    (plate,) = predictions(result)
    (request,) = reader.requests()
    assert path.stat().st_size > 6 * MIB
    assert request["bytes"] <= 6 * MIB
    assert result.err == f"Resizing from [3000, 4000, 3] to [{request['size'][1]}, {request['size'][0]}, 3]\n"
    assert off_by(plate, box) < 8  # a pixel of the network is 8 of the photograph


def test_a_small_plate_is_read_in_the_second_pass(
    client: Any, reader: Any, photograph: Image.Image, tmp_path: Path
) -> None:
    """Two pictures: the first reply shows that the task is plates, so the second picture gets both passes at once."""
    box = (1000, 2000, 1150, 2035)
    path = saved(with_plates(photograph, magenta=box), tmp_path / "large.jpg", turned=True)
    result = client(path, path, "--url", reader.url, "--json", "--timings", "--jobs", 1)

    lines = [json.loads(line) for line in result.out.splitlines()]
    for line in lines:
        (plate,) = line["predictions"]
        assert (plate["sub_text"], plate["main_text"], "missing" in plate) == ("12A", "3456", False)
        assert off_by(plate, box) < 3
    requests = reader.requests()
    thresholds = [request["parameters"].get("threshold") for request in requests]
    assert thresholds == [None, 0.02, 0.7, 0.02, 0.7]
    assert requests[1]["size"] == [1024, 768]
    assert requests[2]["size"] == requests[4]["size"] == pytest.approx([480, 480], abs=30)
    assert [line["requests"] for line in lines] == [3, 2]
    assert lines[0]["timings"] == {"transformer": 6.0, "0": 10.5}


def test_once_is_one_request_and_small_pictures_take_no_more(
    client: Any, reader: Any, photograph: Image.Image, tmp_path: Path
) -> None:
    large = saved(with_plates(photograph.resize((2000, 1500)), magenta=(500, 1000, 575, 1018)), tmp_path / "large.jpg")
    small = saved(with_plates(photograph.resize((500, 400)), cyan=(10, 10, 110, 60)), tmp_path / "small.png")
    result = client(large, "--url", reader.url, "--tiling", "once", "--threshold", 0.15)
    unread = client(small, small, "--url", reader.url, "--jobs", 1)

    assert "│  ? ? ?   ? ? ? ?  │  long  19.00%" in result.out
    assert "not read: small group, main group" in result.out
    assert unread.out.splitlines()[-1] == "2 pictures, 2 plates, 0 unread"
    assert [request["parameters"] for request in reader.requests()] == [{"threshold": 0.15}, {}, {}]


def test_tiles_find_plates_that_the_first_pass_misses(
    client: Any, reader: Any, photograph: Image.Image, tmp_path: Path
) -> None:
    box = (2200, 1000, 2240, 1010)
    path = saved(with_plates(photograph.crop((0, 0, 3000, 1200)), magenta=box), tmp_path / "large.jpg")
    first = client(path, "--url", reader.url, "--tiling", "twice")
    second = client(path, "--url", reader.url, "--tiling", "tiles", "--json")

    assert first.out == f"{path}\n  no plate\n"
    (plate,) = predictions(second)
    assert off_by(plate, box) < 2
    asked = reader.requests()
    assert len(asked) == 1 + (1 + 1 + 4 * 2 + 1)
    assert sum(max(request["size"]) > 1024 for request in asked) == 2  # the pictures themselves


def test_a_picture_of_another_task_is_one_request(client: Any, serve: Any, photo: Path, answer: Any) -> None:
    server = serve({"POST /": [answer]})
    result = client(photo, photo, "--url", server.url, "--jobs", 1)

    assert result.code == 0
    assert [request.body for request in server.requests()] == [photo.read_bytes()] * 2


def test_a_second_pass_for_another_task_is_refused(client: Any, serve: Any, photo: Path, answer: Any) -> None:
    server = serve({"POST /": [answer]})
    result = client(photo, "--url", server.url, "--tiling", "twice")

    assert result.code == 1
    assert "the reply is not of license plates: leave out --tiling" in result.err


def test_a_crop_that_fails_fails_the_picture(client: Any, serve: Any, photo: Path) -> None:
    suspect = {"type": "long", "score": 0.3, "box": [10, 10, 40, 18]}
    replies = [{"json": {"predictions": [[suspect]]}}, {"status": 400, "json": {"error": "no"}}]
    server = serve({"POST /": replies})
    result = client(photo, "--url", server.url, "--tiling", "twice", "--json")

    assert result.code == 1
    assert json.loads(result.out) == {"image": str(photo), "error": "400: no"}
