"""What the detector learns from: the same pictures each time, and none that are held out."""

import pickle
import subprocess
import sys

import numpy as np
import pytest

from shardline.samples import sample_files
from training.detector.backdrops import Backdrops
from training.detector.course import DetectorCourse, Recipe
from training.detector.data import KINDS, Column, Look, Pictures
from training.plates.fonts import families
from wire.errors import ModelError


@pytest.fixture(scope="module")
def pictures() -> Pictures:
    return Pictures(seed=3, fonts=families("train"), backgrounds=Backdrops(files=tuple(sample_files())))


@pytest.mark.parametrize(("look", "side"), [("crops", 128), ("views", 192)])
def test_a_picture_follows_from_its_number_in_any_process(look: Look, side: int, pictures: Pictures) -> None:
    again = pickle.loads(pickle.dumps(pictures))
    last = pictures.draw(look, side, 9)
    for index in range(4):
        one, other = pictures.draw(look, side, index), again.draw(look, side, index)

        assert one.pixels.shape == (side, side, 3)
        assert one.pixels.dtype == np.uint8
        assert np.array_equal(one.pixels, other.pixels)
        assert np.array_equal(one.things, other.things)
        assert not np.array_equal(one.pixels, last.pixels)


def test_things_are_as_the_plates_are(pictures: Pictures) -> None:
    seen = np.concatenate([pictures.draw("crops", 128, index).things for index in range(20)])
    known = seen[seen[:, Column.KNOWN] == 1]

    for kind, classes in enumerate(KINDS):
        of_kind = known[known[:, Column.KIND] == kind]
        assert set(of_kind[:, Column.CLASS]) <= set(range(len(classes)))
        assert len(of_kind)
    assert np.allclose(np.hypot(seen[:, Column.COSINE], seen[:, Column.SINE]), 1)
    characters = seen[seen[:, Column.KIND] == 2]
    assert characters[characters[:, Column.KNOWN] == 1][:, Column.HEIGHT].min() >= 5
    assert (characters[:, Column.HEIGHT] < 5).any(), "there are some too small to be told"


def test_views_are_letter_boxed(pictures: Pictures) -> None:
    corners = {tuple(pictures.draw("views", 192, index).pixels[0, 0].tolist()) for index in range(12)}

    assert (114, 114, 114) in corners
    assert len(corners) > 1


def test_only_fonts_to_train_with_are_drawn() -> None:
    course = DetectorCourse(Recipe(pictures=80), sample_files())

    assert course.draw.pictures.fonts == families("train")
    assert not set(course.draw.pictures.fonts) & set(families("held-out"))


def test_batches_come_as_the_recipe_says() -> None:
    course = DetectorCourse(Recipe(pictures=100, views=0.2, size=128), sample_files())
    batches = [course.draw.at(step) for step in range(course.steps)]

    assert batches[:2] == [("crops", 64, 4, 0), ("crops", 64, 4, 4)]
    assert batches[-1] == ("views", 128, 2, 18)
    assert course.pictures(course.steps) == sum(count for _, _, count, _ in batches) == 100
    assert [each.pixels.shape for each in course.draw(course.steps - 1)] == [(128, 128, 3)] * 2


@pytest.mark.parametrize("wrong", [{"size": 500}, {"size": 64}, {"views": 1.5}, {"pictures": 3}])
def test_what_cannot_be_trained_is_refused_in_words(wrong: dict[str, float]) -> None:
    with pytest.raises(ModelError, match="allowed are"):
        Recipe(**wrong)  # type: ignore[arg-type]


def test_processes_that_draw_need_no_torch() -> None:
    code = "import training.detector.data, training.detector.backdrops, sys; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)

    assert done.stdout.strip() == "False"
