"""Crops for the readers: boxes near the true ones with their text, and crops without a plate."""

import numpy as np
import pytest

from shardline.tasks.plates.grammar import built_in
from shardline.training.detector.augmentation import AugmentedBackgrounds
from shardline.training.detector.objects import IGNORED, TEXTS, Column, nothing
from shardline.training.detector.samples import DetectorSample, DetectorSamples
from shardline.training.detector.scores import object_boxes
from shardline.training.plates.fonts import families
from shardline.training.samples import sample_files
from shardline.wire.boxes import iou

NOTHING = nothing(built_in())


@pytest.fixture(scope="module")
def samples() -> list[DetectorSample]:
    pictures = DetectorSamples(
        seed=5, side=192, fonts=families("train"), backgrounds=AugmentedBackgrounds(files=tuple(sample_files()))
    )
    return [pictures.draw(index) for index in range(30)]


def boards_of(sample: DetectorSample) -> np.ndarray:
    boards: np.ndarray = sample.objects[sample.objects[:, Column.KIND] == 0]
    return boards


def test_each_plate_is_looked_at_from_nearby_and_says_what_is_written_on_it(samples: list[DetectorSample]) -> None:
    overlaps, read = [], 0
    for sample in samples:
        known = boards_of(sample)[boards_of(sample)[:, Column.KNOWN] > 0]
        if not len(known):
            continue
        near = iou(object_boxes(known), sample.plate_crops[:, :4])
        looks = sample.plate_crops[near.argmax(1)]
        overlaps += near.max(1).tolist()
        for board, look in zip(known, looks, strict=True):
            plate = sample.objects[sample.objects[:, Column.PLATE] == board[Column.PLATE]]
            characters = plate[plate[:, Column.KIND] == 2]
            told = characters[:, Column.KNOWN] > 0
            assert np.array_equal(look[TEXTS:][told], characters[told][:, Column.CLASS])
            assert set(look[TEXTS:][~told].tolist()) <= {NOTHING, IGNORED}
            assert np.dot(look[4:TEXTS], board[[Column.COSINE, Column.SINE]]) > 0.98
            read += bool(told.all())
    assert read > 20
    assert 0.75 < np.mean(overlaps) < 0.95, "as far off as a detector's boxes are"


def test_what_is_hidden_is_nothing(samples: list[DetectorSample]) -> None:
    texts = np.concatenate([item.plate_crops[:, TEXTS:] for item in samples])
    partly = (texts == NOTHING).any(1) & ((texts >= 0) & (texts < NOTHING)).any(1)

    assert partly.any()
    assert (texts == IGNORED).any()


def test_elsewhere_there_is_nothing(samples: list[DetectorSample]) -> None:
    empty = 0
    for sample in samples:
        nowhere = sample.plate_crops[(sample.plate_crops[:, TEXTS:] == NOTHING).all(1)]
        away = nowhere[iou(nowhere[:, :4], object_boxes(boards_of(sample))).max(1, initial=0) < 0.1]
        empty += len(away)
    assert empty > 10
