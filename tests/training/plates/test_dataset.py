"""Data sets of drawn plates: COCO's form, and the same files each time, by any number of processes."""

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from services.cli import run_command

from shardline.tasks.plates.grammar import built_in

CLASSES = built_in().classes


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("drawn") / "plates"
    done = run_command(*draw(folder))
    assert done.stdout.strip() == str(folder / "annotations.json")
    return folder


def draw(folder: Path, *more: str) -> list[str]:
    return ["plates", "draw", "--out", str(folder), "--count", "8", "--seed", "5", "--size", "200x160", *more]


def test_the_document_is_coco_s(drawn: Path) -> None:
    document: dict[str, Any] = json.loads((drawn / "annotations.json").read_text())
    images = {image["id"]: image for image in document["images"]}

    assert [category["name"] for category in document["categories"]] == list(CLASSES)
    assert [category["id"] for category in document["categories"]] == list(range(1, 22))
    assert {path.name for path in drawn.glob("*.png")} == {image["file_name"] for image in images.values()}
    assert [annotation["id"] for annotation in document["annotations"]] == list(
        range(1, len(document["annotations"]) + 1)
    )
    for image in images.values():
        with Image.open(drawn / image["file_name"]) as picture:
            assert picture.size == (image["width"], image["height"]) == (200, 160)
    for annotation in document["annotations"]:
        left, top, width, height = annotation["bbox"]
        assert width > 0
        assert height > 0
        assert left >= 0
        assert top >= 0
        assert left + width <= 200.01
        assert top + height <= 160.01
        assert annotation["image_id"] in images
        assert annotation["area"] == pytest.approx(width * height, abs=3)
        assert annotation["iscrowd"] in (0, 1)


def test_characters_spell_the_plate(drawn: Path) -> None:
    document = json.loads((drawn / "annotations.json").read_text())
    names = {category["id"]: category["name"] for category in document["categories"]}
    readable = 0
    for image in document["images"]:
        for number, plate in enumerate(image["plates"]):
            if plate["readable"]:
                readable += 1
                of_plate = [
                    annotation
                    for annotation in document["annotations"]
                    if (annotation["image_id"], annotation["plate"]) == (image["id"], number)
                ]
                letters = [name for item in of_plate if len(name := names[item["category_id"]]) == 1]
                assert "".join(letters).upper() == plate["text"].replace(" ", "")
                assert not any(item["iscrowd"] for item in of_plate)
    assert readable


def test_two_processes_draw_the_same_files(drawn: Path, tmp_path: Path) -> None:
    run_command(*draw(tmp_path / "again", "--workers", "2"))

    for path in drawn.iterdir():
        assert (tmp_path / "again" / path.name).read_bytes() == path.read_bytes(), path.name


def test_a_later_start_goes_on_with_the_seed(drawn: Path, tmp_path: Path) -> None:
    run_command(*draw(tmp_path / "rest", "--start", "6", "--count", "2"))

    assert (tmp_path / "rest" / "000007.png").read_bytes() == (drawn / "000007.png").read_bytes()


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_picture_that_cannot_be_read_leaves_no_data_set(tmp_path: Path, workers: str) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "broken.jpg").write_bytes(b"\xff\xd8 no picture")
    arguments = draw(tmp_path / "out", "--background", str(tmp_path / "photos"), "--workers", workers)
    done = run_command(*arguments, code=1)

    assert "1 of 1 pictures cannot be opened" in done.stderr
    assert "broken.jpg: " in done.stderr
    assert not (tmp_path / "out" / "annotations.json").exists()
