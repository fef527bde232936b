"""Ground truth of drawn and of stored pictures."""

import json
from pathlib import Path

import numpy as np
import pytest
from services.knowing_detector import Knowing

from shardline.training.evaluation.plates.evaluate import evaluate
from shardline.training.evaluation.plates.pictures import (
    DrawnPictures,
    PlatePicture,
    StoredPictures,
)
from shardline.training.plates.dataset import write_dataset
from shardline.training.plates.picture import PlateStream
from shardline.wire.errors import DatasetError


def test_stored_pictures_equal_drawn_ones(plates: PlateStream, drawn: list[PlatePicture], tmp_path: Path) -> None:
    write_dataset(tmp_path / "set", ((number, plates.draw(number)) for number in range(len(drawn))), {})
    stored = StoredPictures(tmp_path / "set")
    samples = list(stored)

    assert len(stored) == len(samples) == len(drawn)
    for read, expected in zip(samples, drawn, strict=True):
        assert read.size == expected.size
        assert read.blur_px == pytest.approx(expected.blur_px, abs=0.01)
        assert [(item.label, item.crowd) for item in read.objects] == [
            (item.label, item.crowd) for item in expected.objects
        ]
        assert [item.box for item in read.objects] == [pytest.approx(item.box, abs=0.02) for item in expected.objects]
        assert [(plate.kind, plate.text, plate.readable) for plate in read.plates] == [
            (plate.kind, plate.text, plate.readable) for plate in expected.plates
        ]
        for plate, drawn_plate in zip(read.plates, expected.plates, strict=True):
            assert np.array(plate.quad) == pytest.approx(np.array(drawn_plate.quad), abs=0.01)
    assert evaluate(stored, [Knowing(samples)], 0.7)[0].sides[0].readings.all.share == 1


def test_a_picture_does_not_depend_on_their_number(plates: PlateStream, drawn: list[PlatePicture]) -> None:
    assert list(DrawnPictures(plates=plates, count=2)) == drawn[:2]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "holds no annotations.json"),
        ("no JSON", "is not in the format"),
        ("[]", "is not in the format"),
        ('{"categories": [{"id": 1, "name": "cat"}], "images": [], "annotations": []}', "is not in the format"),
        ('{"categories": [], "images": [], "annotations": []}', "lists no pictures"),
    ],
)
def test_a_folder_with_other_files(content: str | None, message: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "annotations.json").write_text(content)
    with pytest.raises(DatasetError, match=message):
        StoredPictures(tmp_path)


def test_pictures_that_are_missing_or_without_annotations(tmp_path: Path) -> None:
    image = {"id": 1, "file_name": "a.png", "width": 8, "height": 8}
    document = {"categories": [], "images": [image], "annotations": []}
    (tmp_path / "annotations.json").write_text(json.dumps(document))
    with pytest.raises(DatasetError, match=r"a\.png cannot be read"):
        list(StoredPictures(tmp_path))
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(DatasetError, match="KeyError: 'plates'"):
        list(StoredPictures(tmp_path))
