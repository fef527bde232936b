"""Sources of an index: ids and labels from paths, splits, MNIST's digits, and what is refused."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from services.tiny_digits import write_mnist

from shardline.storage.bundle import PictureSpec
from shardline.training.embedding.index import IndexSource
from shardline.wire.errors import DatasetError, PictureError
from shardline.wire.limits import Limits

SPEC = PictureSpec(height=28, width=28, fit="stretch")


def write_picture(path: Path, grey: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (28, 28), grey).save(path)


def test_a_file_s_folder_is_its_label(tmp_path: Path) -> None:
    write_picture(tmp_path / "train" / "cats" / "a.png", 10)
    write_picture(tmp_path / "train" / "b.png", 200)
    source = IndexSource(tmp_path, "train", SPEC, Limits())

    (batch,) = source.batches()

    assert len(source) == 2
    assert (batch.ids, batch.labels) == (("b.png", "cats/a.png"), (None, "cats"))
    assert batch.pixels.shape == (2, 3, 28, 28)
    assert batch.pixels.dtype == np.uint8
    assert [int(pixels.max()) for pixels in batch.pixels] == [200, 10]


def test_mnist_s_digits_are_named_by_split_and_number(tmp_path: Path) -> None:
    source = IndexSource(write_mnist(tmp_path, train=300, test=7), "train", SPEC, Limits())
    batches = list(source.batches())

    assert [len(batch.ids) for batch in batches] == [256, 44]
    assert batches[1].ids[0] == "train/00256"
    assert set(batches[0].labels) <= set("0123456789")


def test_what_cannot_be_indexed_is_refused(tmp_path: Path) -> None:
    digits = write_mnist(tmp_path / "mnist", train=3, test=3)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "a.png").write_bytes(b"no picture")

    with pytest.raises(DatasetError, match="this bundle takes 32 x 32"):
        list(IndexSource(digits, "test", PictureSpec(height=32, width=32, fit="stretch"), Limits()).batches())
    with pytest.raises(PictureError, match=r"a\.png"):
        list(IndexSource(tmp_path / "broken", "train", SPEC, Limits()).batches())
    with pytest.raises(DatasetError, match="has no folder test: leave out --split test"):
        IndexSource(tmp_path / "broken", "test", SPEC, Limits())
    with pytest.raises(DatasetError, match="folder"):
        IndexSource(tmp_path / "nowhere", "train", SPEC, Limits())
