"""scikit-learn's digits as a folder."""

from pathlib import Path

import numpy as np
from PIL import Image

from shardline.training.classifier.digits import write_digits
from shardline.training.folder import TEST, TRAIN, read_split


def test_all_digits_are_there_and_none_twice(tmp_path: Path) -> None:
    write_digits(tmp_path)
    train, test = read_split(tmp_path, TRAIN), read_split(tmp_path, TEST)

    assert train.labels == test.labels == tuple("0123456789")
    assert (len(train.files), len(test.files)) == (1437, 360)
    assert min(test.counts) >= 25
    assert not {each.name for each in train.files} & {each.name for each in test.files}
    with Image.open(test.files[0]) as picture:
        pixels = np.asarray(picture)
    assert pixels.shape == (8, 8)
    assert 200 <= pixels.max() <= 255
