"""Training pictures of the detector: the same each time, full, and drawn without torch."""

import pickle
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from shardline.tasks.plates.grammar import built_in
from shardline.training.detector.augmentation import AugmentedBackgrounds
from shardline.training.detector.objects import Column, classes_by_kind
from shardline.training.detector.samples import DetectorSamples
from shardline.training.plates.fonts import families
from shardline.training.samples import sample_files


@pytest.fixture(scope="module")
def pictures() -> DetectorSamples:
    return DetectorSamples(
        seed=3, side=128, fonts=families("train"), backgrounds=AugmentedBackgrounds(files=tuple(sample_files()))
    )


def test_a_picture_follows_from_its_number_in_any_process(pictures: DetectorSamples) -> None:
    again = pickle.loads(pickle.dumps(pictures))
    last = pictures.draw(9)
    for index in range(4):
        one, other = pictures.draw(index), again.draw(index)

        assert one.pixels.shape == (128, 128, 3)
        assert one.pixels.dtype == np.uint8
        assert np.array_equal(one.pixels, other.pixels)
        assert np.array_equal(one.objects, other.objects)
        assert np.array_equal(one.character_crops, other.character_crops)
        assert not np.array_equal(one.pixels, last.pixels)


def test_things_are_as_the_plates_are(pictures: DetectorSamples) -> None:
    seen = np.concatenate([pictures.draw(index).objects for index in range(20)])
    known = seen[seen[:, Column.KNOWN] == 1]

    for kind, classes in enumerate(classes_by_kind(built_in())):
        of_kind = known[known[:, Column.KIND] == kind]
        assert set(of_kind[:, Column.CLASS]) <= set(range(len(classes)))
        assert len(of_kind)
    assert np.allclose(np.hypot(seen[:, Column.COSINE], seen[:, Column.SINE]), 1)
    characters = seen[seen[:, Column.KIND] == 2]
    assert characters[characters[:, Column.KNOWN] == 1][:, Column.HEIGHT].min() >= 5
    assert (characters[:, Column.HEIGHT] < 5).any(), "there are some too small to be told"


def test_each_character_that_can_be_told_is_looked_at_from_nearby(pictures: DetectorSamples) -> None:
    count, off = 0, []
    for sample in (pictures.draw(index) for index in range(12)):
        objects, crops = sample.objects, sample.character_crops
        middles = objects[:, [Column.X, Column.Y]]
        told = (
            (objects[:, Column.KIND] == 2) & (objects[:, Column.KNOWN] == 1) & ((middles >= 0) & (middles < 128)).all(1)
        )
        seen = (crops[:, :2] + crops[:, 2:4]) / 2

        assert np.array_equal(crops[:, 4], objects[told][:, Column.CLASS])
        longer = objects[told][:, [Column.WIDTH, Column.HEIGHT]].max(1, initial=0)
        off += (np.abs(seen - middles[told]).max(1, initial=0) / longer).tolist()
        count += len(crops)
    assert count > 50
    assert 0.03 < np.mean(off) < 0.15, "as far off as a detector's boxes are"
    assert max(off) < 0.6


def test_some_are_letter_boxed(pictures: DetectorSamples) -> None:
    corners = [tuple(pictures.draw(index).pixels[0, 0].tolist()) for index in range(24)]

    assert 0 < corners.count((114, 114, 114)) < 16


def test_pictures_are_full(pictures: DetectorSamples) -> None:
    larger = replace(pictures, side=256)
    seen = [larger.draw(index).objects for index in range(20)]
    told = [int(((item[:, Column.KIND] == 2) & (item[:, Column.KNOWN] == 1)).sum()) for item in seen]

    assert np.mean(told) > 30


def test_processes_that_draw_need_no_torch() -> None:
    modules = "shardline.training.detector.samples, shardline.training.detector.augmentation"
    code = f"import {modules}, sys; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)

    assert done.stdout.strip() == "False"
