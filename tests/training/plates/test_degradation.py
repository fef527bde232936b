"""Degradation: level 0 changes nothing, level 1 changes a picture of any size, and no effect moves anything."""

import numpy as np
import pytest
from PIL import Image

from shardline.training.plates.degradation import (
    CameraEffects,
    expose,
    light,
    occlude,
    random_effects,
    thin_paint,
    wear,
)
from shardline.training.plates.geometry import rectangle


def grey(width: int = 90, height: int = 30) -> Image.Image:
    return Image.new("RGB", (width, height), (120, 130, 140))


def test_a_new_plate_in_even_light_stays_as_it_is() -> None:
    random = np.random.default_rng(0)

    assert wear(random, grey(), 0.0).tobytes() == grey().tobytes()
    assert np.abs(np.asarray(light(random, grey(), 0.0)).astype(int) - np.asarray(grey())).max() <= 1


@pytest.mark.parametrize("size", [(9, 8), (300, 90)])
def test_wear_and_light_take_faces_of_any_size(size: tuple[int, int]) -> None:
    for seed in range(12):
        random = np.random.default_rng(seed)
        worn = light(random, wear(random, grey(*size), 1.0), 1.0)
        mask = thin_paint(random, Image.new("L", size, 255), 1.0)

        assert (worn.size, mask.size) == (size, size)


def test_a_cover_hides_a_part_of_the_plate_and_says_which() -> None:
    corners = rectangle(20, 10, 80, 40)
    for seed in range(9):
        picture, other = Image.new("RGB", (100, 50)), Image.new("RGB", (100, 50), (250, 250, 250))
        hidden = occlude(np.random.default_rng(seed), picture, other, corners)

        assert hidden.shape == (50, 100)
        assert hidden.dtype == np.uint8
        assert np.array_equal(hidden > 0, np.asarray(picture.convert("L")) > 0)


def test_a_camera_of_level_0_has_no_effect() -> None:
    effects = random_effects(np.random.default_rng(0), 0.0, 16)
    taken = expose(np.random.default_rng(0), grey(), effects, 0.0)

    assert effects == CameraEffects(blur_px=0.0, motion_px=0, noise=0.0, jpeg_quality=None)
    assert np.array_equal(taken, np.asarray(grey()))


def test_blur_and_motion_move_no_edge() -> None:
    """The middle of a blurred edge stays where the edge was."""
    half = np.zeros((40, 60, 3), np.uint8)
    half[:, 30:] = 200
    for effects in (
        CameraEffects(blur_px=2.0, motion_px=0, noise=0.0, jpeg_quality=None),
        CameraEffects(blur_px=0.0, motion_px=7, noise=0.0, jpeg_quality=None),
    ):
        row = expose(np.random.default_rng(1), Image.fromarray(half), effects, 0.0)[20, :, 0].astype(int)
        assert row[0] == 0
        assert row[-1] == 200
        assert abs(int(np.searchsorted(row, 100)) - 30) <= 1
