"""Background photographs: a third held out, random crops, and what cannot be read."""

from pathlib import Path

import numpy as np
import pytest

from shardline.training.plates.backgrounds import Backgrounds, split
from shardline.training.samples import sample_files
from shardline.wire.errors import DatasetError


def test_a_third_of_the_photographs_can_be_held_out() -> None:
    files = sample_files()
    train, held_out = split(files, held_out=False), split(files, held_out=True)

    assert sorted((*train, *held_out)) == sorted(files)
    assert train
    assert held_out


def test_a_crop_has_the_size_and_follows_from_the_generator() -> None:
    backgrounds = Backgrounds(files=tuple(sample_files()))

    crop, name = backgrounds.crop(np.random.default_rng(3), (90, 60))
    again, same_name = backgrounds.crop(np.random.default_rng(3), (90, 60))

    assert (crop.size, crop.mode) == ((90, 60), "RGB")
    assert name == same_name
    assert name in {file.name for file in sample_files()}
    assert crop.tobytes() == again.tobytes()


def test_no_photographs() -> None:
    with pytest.raises(DatasetError, match="name a folder"):
        Backgrounds(files=())


def test_a_file_that_is_no_picture_is_named(tmp_path: Path) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"\xff\xd8 no picture")

    with pytest.raises(DatasetError, match=r"broken.jpg cannot be read as a picture"):
        Backgrounds(files=(broken,)).crop(np.random.default_rng(0), (64, 64))
