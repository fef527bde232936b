"""Labelled pictures in folders: training, validation and test splits, and scikit-learn's digits."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from services.drawn_shapes import CLASSES, draw_shapes

from shardline.training.folder import TEST, TRAIN, read_split, training_and_validation, write_digits
from shardline.wire.errors import DatasetError, UsageError


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_shapes(tmp_path_factory.mktemp("shapes") / "data", train=10, test=2)


def test_a_split_is_read_by_class_and_name(shapes: Path) -> None:
    found = read_split(shapes, TEST)

    assert found.labels == CLASSES
    assert found.classes == (0, 0, 1, 1, 2, 2)
    assert [file.parent.name for file in found.files] == [CLASSES[label] for label in found.classes]


def test_a_model_s_own_order_of_labels_is_kept(shapes: Path) -> None:
    labels = ("disc", "other", "checks", "bars")

    found = read_split(shapes, TEST, labels)

    assert found.labels == labels
    assert [labels[label] for label in found.classes] == [file.parent.name for file in found.files]


def test_a_share_of_each_class_is_held_out_and_never_learnt_from(shapes: Path) -> None:
    learnt, held = training_and_validation(shapes, 0.2, 5)

    assert learnt.counts == [8, 8, 8]
    assert held.counts == [2, 2, 2]
    assert set(learnt.files) | set(held.files) == set(read_split(shapes, TRAIN).files)
    assert training_and_validation(shapes, 0.2, 6)[1].files != held.files


def test_a_folder_for_validation_is_used_in_place_of_a_share(tmp_path: Path) -> None:
    folder = draw_shapes(tmp_path / "data", train=3, test=2)
    (folder / TEST).rename(folder / "val")

    learnt, held = training_and_validation(folder, 0.5, 0)

    assert len(learnt.files) == 9
    assert {file.parents[1].name for file in held.files} == {"val"}


def test_other_pictures_have_another_digest(tmp_path: Path) -> None:
    folder = draw_shapes(tmp_path / "data", train=2, test=1)
    before = read_split(folder, TRAIN).digest()
    file = folder / TRAIN / "disc" / "000.png"
    file.write_bytes(file.read_bytes() + b"more")

    assert read_split(folder, TRAIN).digest() != before


@pytest.mark.parametrize(
    ("remove", "said"),
    [
        ("train", r"has no folder train: pictures are expected as .*/train/CLASS/\*\.jpg"),
        ("train/disc/*", r"disc holds no picture \(\.bmp"),
        ("train/[bd]*", "holds one class, checks: a classifier needs two or more"),
    ],
)
def test_what_is_missing_is_said(remove: str, said: str, tmp_path: Path) -> None:
    folder = draw_shapes(tmp_path / "data", train=2, test=1)
    for number, each in enumerate(list(folder.glob(remove))):
        each.rename(tmp_path / str(number))

    with pytest.raises(DatasetError, match=said):
        training_and_validation(folder, 0.5, 0)


def test_an_unknown_class_is_refused(shapes: Path) -> None:
    with pytest.raises(DatasetError, match="test holds the unknown bars; allowed are disc, checks"):
        read_split(shapes, TEST, ("disc", "checks"))


def test_a_share_of_nothing_is_refused(shapes: Path) -> None:
    with pytest.raises(UsageError, match=r"--held-out 0.01 of the pictures of each class .* there are 10 at most"):
        training_and_validation(shapes, 0.01, 0)


def test_all_digits_are_there_and_none_twice(tmp_path: Path) -> None:
    write_digits(tmp_path)
    train, test = read_split(tmp_path, TRAIN), read_split(tmp_path, TEST)

    assert train.labels == test.labels == tuple("0123456789")
    assert (len(train.files), len(test.files)) == (1437, 360)
    assert min(test.counts) >= 25
    assert not {file.name for file in train.files} & {file.name for file in test.files}
    with Image.open(test.files[0]) as picture:
        pixels = np.asarray(picture)
    assert pixels.shape == (8, 8)
    assert 200 <= pixels.max() <= 255
