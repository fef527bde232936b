"""Labelled pictures of folders and of MNIST's files."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from services.knowing_classifier import png
from services.retrieval import write_pictures
from services.tiny_digits import digits, write_idx, write_mnist

from shardline.training.evaluation.classifier.pictures import read_pictures
from shardline.wire.errors import DatasetError


def test_a_number_of_evenly_spread_pictures(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path, 20)
    some = read_pictures(folder, 4)

    assert [each.name for each in some] == ["even/0.png", "even/18.png", "odd/1.png", "odd/19.png"]
    assert [each.label for each in some] == [0, 0, 1, 1]
    assert len(some) == 4
    assert len(read_pictures(folder, 99)) == len(read_pictures(folder)) == 20


def test_a_label_without_pictures_is_left_out(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path, 3)
    [only] = read_pictures(folder, 1)

    assert read_pictures(folder, 1).labels == ("even",)
    assert (only.name, only.label) == ("even/0.png", 0)


def test_the_folders_of_a_training_are_taken(tmp_path: Path) -> None:
    write_pictures(tmp_path / "data" / "train", 4)
    with pytest.raises(
        DatasetError, match=r"has a folder train and none of test, val, valid, validation: name .*train"
    ):
        read_pictures(tmp_path / "data")

    write_pictures(tmp_path / "data" / "val", 2)
    assert [each.name for each in read_pictures(tmp_path / "data")] == ["even/0.png", "odd/1.png"]


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    for name in ("bus", "train"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "0.png").write_bytes(png(8))

    assert read_pictures(tmp_path).labels == ("bus", "train")


def test_mnist_s_files(tmp_path: Path) -> None:
    folder = write_mnist(tmp_path / "mnist", train=1, test=60)
    pixels, labels = digits(60, 1)
    found = read_pictures(folder)
    samples = list(found)

    assert found.labels == tuple(sorted({str(each) for each in labels}))
    assert [found.labels[each.label] for each in samples] == [str(each) for each in labels]
    assert [samples[0].name, samples[-1].name] == ["test/00000", "test/00059"]
    for sample, expected in zip(samples, pixels, strict=True):
        with Image.open(io.BytesIO(sample.picture)) as opened:
            assert opened.format == "PNG"
            np.testing.assert_array_equal(np.asarray(opened), expected)


def test_some_of_mnist_s(tmp_path: Path) -> None:
    folder = tmp_path / "mnist"
    folder.mkdir()
    write_idx(
        folder / "t10k-images-idx3-ubyte.gz", np.arange(6, dtype=np.uint8)[:, None, None] * np.ones((1, 2, 2), np.uint8)
    )
    write_idx(folder / "t10k-labels-idx1-ubyte.gz", np.array([7, 1, 7, 1, 3, 1], np.uint8))
    some = read_pictures(folder, 3)

    assert some.labels == ("3", "7")
    assert [(each.name, some.labels[each.label]) for each in some] == [
        ("test/00000", "7"), ("test/00002", "7"), ("test/00004", "3"),
    ]  # fmt: skip


def test_files_of_mnist_s_that_are_missing(tmp_path: Path) -> None:
    (write_mnist(tmp_path, train=1, test=1) / "t10k-labels-idx1-ubyte.gz").unlink()

    with pytest.raises(DatasetError, match="the folder must hold MNIST's four"):
        read_pictures(tmp_path)


def write(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(png(0))


def test_a_folder_with_a_split_for_testing(tmp_path: Path) -> None:
    write(tmp_path, "train/ant/1.png", "train/bee/2.png", "test/bee/4.png", "test/ant/3.png", "test/ant/deep/0.png")
    pictures = read_pictures(tmp_path)

    assert pictures.labels == ("ant", "bee")
    assert [(each.name, each.label) for each in pictures] == [("ant/3.png", 0), ("ant/deep/0.png", 0), ("bee/4.png", 1)]
    assert len(pictures) == 3
    assert next(iter(pictures)).picture == png(0)


def test_a_folder_of_classes(tmp_path: Path) -> None:
    write(tmp_path, "bee/4.png", "ant/3.png")

    assert [each.name for each in read_pictures(tmp_path)] == ["ant/3.png", "bee/4.png"]
    with pytest.raises(DatasetError, match="is not a folder"):
        read_pictures(tmp_path / "bee" / "4.png")
    with pytest.raises(DatasetError, match="holds no class"):
        read_pictures(tmp_path / "bee")
