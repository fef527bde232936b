"""Writing that is no plate's: it says anything but what a plate says."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tasks.plate_text import DIGITS, USES, parse_text
from training.plates.writing import like_anything, unlike_plates
from wire.errors import ModelError

seeds = st.integers(0, 2**32).map(np.random.default_rng)


@given(random=seeds)
def test_nothing_that_is_written_is_a_plate(random: np.random.Generator) -> None:
    text = like_anything(random)

    assert len(text) >= 1
    assert " " not in text
    assert not _is_plate(text)


@given(random=seeds)
def test_what_is_unlike_plates_has_none_of_their_characters(random: np.random.Generator) -> None:
    assert not set(unlike_plates(random)) & {*DIGITS, *USES, "O", "I", "S", "Z", "G", "Q"}


def test_years_words_and_marks_come_up() -> None:
    random = np.random.default_rng(0)
    texts = [like_anything(random) for _ in range(500)]

    assert any(text.isdigit() and len(text) == 4 for text in texts)
    assert any(text.isalpha() and text.islower() for text in texts)
    assert any(not text.isalnum() for text in texts)
    assert any(text.isalnum() and not text.isdigit() and not text.isalpha() for text in texts)


def _is_plate(text: str) -> bool:
    try:
        parse_text(text)
    except ModelError:
        return False
    return True
