"""MNIST's files: what is read, and what is refused in one line."""

import gzip
from pathlib import Path

import numpy as np
import pytest
from services.tiny_digits import digits, write_idx, write_mnist

from shardline.training.embedding.mnist import as_pixels, is_mnist, read_digits
from shardline.wire.errors import DatasetError


def test_both_parts_in_their_order(tmp_path: Path) -> None:
    write_mnist(tmp_path, train=20, test=7)
    pictures, labels = digits(7, 1)

    read = read_digits(tmp_path, "test")

    assert is_mnist(tmp_path)
    assert not is_mnist(tmp_path / "elsewhere")
    assert len(read_digits(tmp_path, "train").labels) == 20
    np.testing.assert_array_equal(read.pictures, pictures)
    np.testing.assert_array_equal(read.labels, labels)
    assert as_pixels(read.pictures).shape == (7, 3, 28, 28)


def test_files_that_do_not_belong_together(tmp_path: Path) -> None:
    write_mnist(tmp_path, train=20, test=7)
    write_idx(tmp_path / "t10k-labels-idx1-ubyte.gz", np.zeros(6, np.uint8))

    with pytest.raises(DatasetError, match="7 pictures and 6 labels in the split test"):
        read_digits(tmp_path, "test")


BROKEN = {
    "missing": (None, "cannot be read"),
    "not gzipped": (b"\0\0\x08\x03", "cannot be read"),
    "cut off": (gzip.compress(bytes(3000))[:-9], "cannot be read"),
    "damaged": (gzip.compress(bytes(range(250)) * 9)[:40] + b"?" * 50, "cannot be read"),
    "empty": (gzip.compress(b""), "begins with"),
    "labels in place of pictures": (gzip.compress(b"\0\0\x08\x01" + bytes(60)), "begins with 00000801"),
    "of floats": (gzip.compress(b"\0\0\x0d\x03" + bytes(60)), "begins with 00000d03"),
    "head cut off": (gzip.compress(b"\0\0\x08\x03\0\0"), "begins with"),
    "too short": (gzip.compress(b"\0\0\x08\x03" + b"\0\0\0\x02" * 3 + bytes(7)), r"shape \[2, 2, 2\], but holds 7"),
    "of a shape without end": (gzip.compress(b"\0\0\x08\x03" + b"\xff" * 12 + bytes(7)), "but holds 7 values"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_file_that_is_none_of_mnist_s(case: str, tmp_path: Path) -> None:
    content, message = BROKEN[case]
    write_mnist(tmp_path, train=20, test=7)
    path = tmp_path / "t10k-images-idx3-ubyte.gz"
    path.unlink()
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(DatasetError, match=message):
        read_digits(tmp_path, "test")
