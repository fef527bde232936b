"""Pictures with their replies drawn in: saved to files, and shown in the system's viewer."""

import base64
import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from services.plate_pictures import saved, with_plates
from services.processes import wait_until

from shardline.client.download import PictureURL
from shardline.client.mark import check_saving, output_paths, save
from shardline.client.pictures import Source
from shardline.wire.errors import FileError, ShardlineError, UsageError


def test_pictures_are_saved_with_their_plates(
    client: Any, reader: Any, photograph: Image.Image, tmp_path: Path
) -> None:
    """The frame is in the picture as it is looked at, and nothing is changed far away from it."""
    plain = photograph.resize((800, 600))
    path = saved(with_plates(plain, cyan=(300, 200, 500, 300)), tmp_path / "one.png", turned=True)
    again = client(path, path, "--url", reader.url, "--save", "marked")
    alone = client(path, "--url", reader.url, "--save", "alone.jpg")

    assert (again.code, alone.code) == (0, 0)
    names = sorted(path.name for path in (tmp_path / "marked").iterdir())
    assert names == ["one-2.png", "one.png"]
    with Image.open(tmp_path / "marked" / "one.png") as marked:
        assert marked.size == (800, 600)
        assert marked.getpixel((298, 250)) == (0, 200, 80)
        assert marked.getpixel((400, 250)) == (0, 255, 255)
        assert marked.crop((0, 400, 800, 600)).tobytes() == plain.crop((0, 400, 800, 600)).tobytes()
    with Image.open(tmp_path / "alone.jpg") as marked:
        assert (marked.format, marked.size) == ("JPEG", (800, 600))


def test_showing_opens_the_systems_viewer(client: Any, serve: Any, photo: Path, answer: Any, tmp_path: Path) -> None:
    server = serve({"POST /": [answer]})
    viewer = tmp_path / "bin" / "xdg-open"
    viewer.parent.mkdir()
    viewer.write_text(f'#!/bin/sh\ncp "$1" {tmp_path}/seen.part && mv {tmp_path}/seen.part {tmp_path}/seen.png\n')
    viewer.chmod(0o755)
    result = client(photo, "--url", server.url, "--show", DISPLAY=":1", PATH=f"{viewer.parent}:{os.environ['PATH']}")

    assert (result.code, result.err) == (0, "")
    wait_until(lambda: (tmp_path / "seen.png").exists(), "the viewer", 30)
    with Image.open(tmp_path / "seen.png") as seen, Image.open(photo) as before:
        assert seen.size == before.size
        assert seen.getpixel((1, 1)) == (40, 90, 200)


def test_where_there_is_no_display_the_reply_is_printed_all_the_same(
    client: Any, serve: Any, photo: Path, answer: Any
) -> None:
    server = serve({"POST /": [answer]})
    result = client(photo, "--url", server.url, "--show", DISPLAY="", WAYLAND_DISPLAY="")

    assert result.code == 1
    assert "Egyptian cat" in result.out
    assert result.err == f"error: {photo}: --show: there is no display here: give --save FILE\n"


def test_all_labels_of_the_table_are_in_the_picture(client: Any, serve: Any, photo: Path, tmp_path: Path) -> None:
    """The label has a line for each class that `--top` asks for."""
    rows = [{"label": f"class {number}", "index": number, "score": 0.3} for number in range(3)]
    heights = []
    for count in (1, 3):
        server = serve({"POST /": [{"json": {"predictions": [{"label": "x", "score": 1, "top": rows[:count]}]}}]})
        assert client(photo, "--url", server.url, "--top", count, "--save", f"{count}.png").code == 0
        with Image.open(tmp_path / f"{count}.png") as marked:
            heights.append(int((np.asarray(marked)[:, 1] == (40, 90, 200)).all(axis=1).sum()))

    assert heights[1] > 2 * heights[0] > 0


def test_masks_are_saved_beside_the_overlay(client: Any, serve: Any, photo: Path, tmp_path: Path) -> None:
    file = io.BytesIO()
    Image.fromarray(np.array([[0, 3]], np.uint8)).save(file, "PNG")
    prediction = {
        "mask": {"format": "png", "b64": base64.b64encode(file.getvalue()).decode()},
        "size": [1, 2],
        "classes": [{"label": "background", "index": 0, "share": 0.5}, {"label": "cat", "index": 3, "share": 0.5}],
    }
    server = serve({"POST /": [{"json": {"predictions": [prediction]}}]})
    result = client(photo, "--url", server.url, "--save", "out.png")

    assert (result.code, result.err) == (0, "")
    assert "  cat          50.00%" in result.out
    with Image.open(tmp_path / "out.png") as overlay, Image.open(photo) as before:
        assert overlay.width == before.width
        assert overlay.height > before.height
        assert overlay.getpixel((1, 1)) == pytest.approx(before.getpixel((1, 1)), abs=1)
    with Image.open(tmp_path / "out.mask.png") as mask:
        assert np.asarray(mask).tolist() == [[0, 3]]


def test_tensors_are_not_saved(client: Any, serve: Any, photo: Path) -> None:
    outputs = {"age": {"shape": [1], "dtype": "float32", "data": [31.25]}}
    server = serve({"POST /": [{"json": {"predictions": [{"outputs": outputs}]}}]})
    result = client(photo, "--url", server.url, "--save", "out.png")

    assert result.code == 1
    assert "age  float32 [1]  31.25" in result.out
    assert "raw tensors cannot be drawn on a picture: use --json" in result.err


@pytest.mark.parametrize(
    ("name", "count", "error", "message"),
    [
        ("b.png", 2, UsageError, "--save {to}: 2 pictures need a folder: give one"),
        ("b.txt", 1, UsageError, "--save {to}: .txt names no picture format; allowed are .png"),
        ("a.png/b", 2, FileError, "--save {to}: no folder can be created there (Not a directory)"),
    ],
)
def test_a_path_that_pictures_cannot_be_saved_to(
    tmp_path: Path, name: str, count: int, error: type[ShardlineError], message: str
) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")

    with pytest.raises(error) as raised:
        check_saving(tmp_path / name, count)
    assert str(raised.value).startswith(message.format(to=tmp_path / name))


def test_pictures_of_one_name_are_numbered(tmp_path: Path) -> None:
    """A name that is taken by the mask of another picture counts, too."""
    pictures: list[Source] = [
        Path("a/Car.jpg"),
        Path("b/car.png"),
        Path("-"),
        Path("car.mask.png"),
        PictureURL(url="http://x/car.jpg"),
    ]

    assert list(output_paths(tmp_path, pictures)) == [
        tmp_path / name for name in ("Car.png", "car-2.png", "picture.png", "car.mask-2.png", "car-3.png")
    ]


def test_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"cannot be written \(No such file or directory\)"):
        save(Image.new("RGB", (8, 8)), tmp_path / "none" / "x.png")
