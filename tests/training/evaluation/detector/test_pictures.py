"""Annotated pictures: COCO's JSON, YOLO's text files, and data that make no sense."""

import json
from pathlib import Path
from typing import Any

import pytest
from services.colour_detector import drawn

from shardline.training.evaluation.detector.pictures import open_pictures
from shardline.wire.errors import DatasetError

RED = ("red", (10, 20, 30, 60))


def coco(folder: Path, **changes: Any) -> Path:
    """COCO's JSON of a picture of 100 x 80 pixels with a red box, and of an empty one."""
    for name in ("one.png", "two.png"):
        (folder / name).write_bytes(drawn((100, 80), [RED] if name == "one.png" else []))
    box = {"image_id": 7, "category_id": 3, "bbox": [10, 20, 20, 40], "iscrowd": 0}
    document = {
        "images": [{"id": 7, "file_name": "one.png"}, {"id": 9, "file_name": "two.png"}],
        "categories": [{"id": 5, "name": "green"}, {"id": 3, "name": "red"}],
        "annotations": [box],
        **changes,
    }
    (folder / "it.json").write_text(json.dumps(document))
    return folder / "it.json"


def test_coco(tmp_path: Path) -> None:
    pictures = open_pictures(tmp_path, coco(tmp_path), None)
    one, two = pictures

    assert (pictures.labels, pictures.by_index, len(pictures)) == (("red", "green"), False, 2)
    assert (one.name, one.size, two.objects) == ("one.png", (100, 80), ())
    assert [(item.label, item.box, item.crowd) for item in one.objects] == [(0, (10, 20, 30, 60), False)]


@pytest.mark.parametrize("beside", [True, False])
def test_yolo(tmp_path: Path, beside: bool) -> None:
    """Text files beside the pictures, or in `labels` where the pictures are in `images`; a box is clipped."""
    folder = tmp_path if beside else tmp_path / "images"
    folder.mkdir(exist_ok=True)
    (folder / "one.png").write_bytes(drawn((100, 80), [RED]))
    (folder / "two.png").write_bytes(drawn((100, 80), []))
    labels = folder if beside else tmp_path / "labels"
    labels.mkdir(exist_ok=True)
    (labels / "one.txt").write_text("2 0.2 0.5 0.2 0.5\n\n0 0.95 0.5 0.11 0.5\n")
    pictures = open_pictures(folder, None, None)
    one, two = pictures

    assert (pictures.labels, pictures.by_index) == (("class 0", "class 1", "class 2"), True)
    assert [item.label for item in one.objects] == [2, 0]
    assert one.objects[0].box == pytest.approx((10, 20, 30, 60))
    assert one.objects[1].box == pytest.approx((89.5, 20, 100, 60))
    assert two.objects == ()
    assert len(open_pictures(folder, None, 1)) == 1
    (tmp_path / "classes.txt").write_text("red\ngreen\nblue\n")
    assert open_pictures(folder, None, None).labels == ("red", "green", "blue")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"categories": []}, "is not COCO's JSON"),
        ({"annotations": [{"image_id": 8, "category_id": 3}]}, "is not COCO's JSON"),
        ({"annotations": [{"image_id": 7, "category_id": 3}]}, "has no bbox"),
        ({"annotations": [{"image_id": 7, "category_id": 3, "bbox": [200, 0, 9, 9]}]}, "lies outside of it"),
        ({"images": [], "annotations": []}, "lists no images"),
        ({"images": [{"id": 7, "file_name": "none.png"}]}, "none.png cannot be read"),
    ],
)
def test_coco_that_makes_no_sense(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    path = coco(tmp_path, **changes)

    with pytest.raises(DatasetError, match=message):
        list(open_pictures(tmp_path, path, None))


@pytest.mark.parametrize("line", ["0 0.5 0.5 0.1", "cat 0.5 0.5 0.1 0.1", "0 50 50 10 10", "-1 0.5 0.5 0.1 0.1"])
def test_yolo_that_makes_no_sense(tmp_path: Path, line: str) -> None:
    (tmp_path / "one.png").write_bytes(drawn((100, 80), []))
    (tmp_path / "one.txt").write_text(line)

    with pytest.raises(DatasetError, match=r"a label of .*one.png is"):
        open_pictures(tmp_path, None, None)


def test_pictures_without_labels(tmp_path: Path) -> None:
    (tmp_path / "one.png").write_bytes(drawn((100, 80), []))

    with pytest.raises(DatasetError, match=r"has no labels: write a text file .* --annotations"):
        open_pictures(tmp_path, None, None)
