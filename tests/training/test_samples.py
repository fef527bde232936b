"""Sample pictures: photographs, drawn plates, calibration views and golden pictures, the same each time."""

import io

import numpy as np
from PIL import Image

from shardline.storage.bundle import PictureSpec
from shardline.training.samples import (
    calibration_pixels,
    drawn_pictures,
    golden_picture,
    sample_files,
    sample_pictures,
    task_samples,
)

SPEC = PictureSpec(height=24, width=32, fit="stretch")


def test_photographs_are_the_samples_of_a_classifier() -> None:
    assert list(task_samples("classify")) == [path.name for path in sample_files()]


def test_plates_are_drawn_for_the_detector() -> None:
    samples = task_samples("plates")

    assert samples == drawn_pictures()
    assert len(samples) == 12
    with Image.open(io.BytesIO(samples["plates 0"])) as picture:
        assert picture.size == (640, 480)


def test_calibration_has_the_whole_picture_and_crops() -> None:
    pixels = calibration_pixels(sample_pictures()[:2], SPEC)

    assert pixels.shape == (8, 3, 24, 32)
    assert pixels.dtype == np.uint8
    assert np.array_equal(pixels, calibration_pixels(sample_pictures()[:2], SPEC))
    assert len({view.tobytes() for view in pixels}) == 8


def test_a_golden_picture_is_decoded_to_its_pixels() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 24, 32), np.uint8)

    golden = golden_picture(pixels, SPEC)

    assert np.array_equal(golden.pixels[0], pixels)
    assert golden.png.startswith(b"\x89PNG")
