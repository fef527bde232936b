"""A face can be drawn however small it is, with whatever style."""

from dataclasses import replace

import numpy as np
import pytest

from shardline.tasks.plates.grammar import built_in
from shardline.training.plates.face import draw_sign
from shardline.training.plates.fonts import families
from shardline.training.plates.style import Strip, random_style


@pytest.mark.parametrize("height_px", [1.0, 8.0, 9.0])
@pytest.mark.parametrize("at_left", [True, False])
def test_a_strip_of_less_than_a_pixel_is_drawn(height_px: float, at_left: bool) -> None:
    random = np.random.default_rng(0)
    strip = Strip(at_left=at_left, width=0.12, colour=(170, 30, 40))
    style = replace(random_style(random, built_in(), built_in().types[0], families("train")), strip=strip)

    face = draw_sign(random, (), style, height_px, level=0.0)

    assert face.image.height >= height_px
