"""scikit-learn's handwritten digits as a folder of pictures: small, and in an installation already."""

from pathlib import Path

import numpy as np
from PIL import Image

from shardline.training.folder import TEST, TRAIN
from shardline.wire.errors import ModelError

NAME = "digits"
_TEST_EVERY = 5  # every fifth is for testing
_WHITEST = 16  # of the data set's numbers


def write_digits(folder: Path) -> Path:
    """1,797 digits of 8 by 8 pixels (UCI's "Optical Recognition of Handwritten Digits", its test part) as PNG files,
    every fifth of them under test; -> `folder`. Files that are there are written again, the same.

    Raises:
        ModelError: scikit-learn is not installed, or the folder cannot be written.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as exc:
        raise ModelError(f"{NAME} ship in scikit-learn: pip install 'shardline[train]', or name a folder") from exc
    digits = load_digits()
    pixels = np.round(digits.images * (255 / _WHITEST)).astype(np.uint8)
    try:
        for number, (picture, digit) in enumerate(zip(pixels, digits.target, strict=True)):
            place = folder / (TRAIN if number % _TEST_EVERY else TEST) / str(digit)
            place.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(place / f"{number:04}.png")
    except OSError as exc:
        raise ModelError(f"{folder} cannot be written: {exc}") from exc
    return folder
