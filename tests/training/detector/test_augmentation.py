"""Randomly augmented backgrounds: of the size asked for, the same each time, and never an error."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shardline.training.detector.augmentation import AugmentedBackgrounds
from shardline.training.samples import sample_files

BACKGROUNDS = AugmentedBackgrounds(files=tuple(sample_files()))


@given(seed=st.integers(0, 2**32), width=st.integers(32, 300), height=st.integers(32, 300))
@settings(max_examples=60, deadline=None)
def test_any_lot_gives_a_picture_of_the_size(seed: int, width: int, height: int) -> None:
    image, _ = BACKGROUNDS.crop(np.random.default_rng(seed), (width, height))

    assert image.size == (width, height)
    assert image.mode == "RGB"


@pytest.mark.slow
def test_thousands_of_lots_are_drawn() -> None:
    """Some shapes come once in a thousand pictures, and a training draws thirty thousand."""
    random = np.random.default_rng(0)
    means = [np.asarray(BACKGROUNDS.crop(random, (64, 64))[0]).mean() for _ in range(4000)]

    assert np.std(means) > 30
