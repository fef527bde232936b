"""Texts of plates: which are parsed, and which are refused."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardline.tasks.plates.grammar import built_in
from shardline.tasks.plates.text import parse_text, random_text
from shardline.wire.errors import UsageError

CLASSES = built_in().classes


def test_classes_are_the_issue_s() -> None:
    assert ["r_board", "l_board", "r_s_n", "r_m_n", "l_s_n", "l_m_n", *"0123456789", *"abcde"] == list(CLASSES)


@given(st.integers(0, 2**32))
def test_every_text_drawn_can_be_parsed(seed: int) -> None:
    text = random_text(np.random.default_rng(seed))

    assert parse_text(str(text)) == text
    assert parse_text(str(text).lower().replace(" ", "")) == text


def test_a_text_has_a_small_and_a_main_group() -> None:
    text = parse_text("12a 3456")

    assert (text.groups[0], text.groups[1], str(text)) == ("12A", "3456", "12A 3456")


@pytest.mark.parametrize(
    "text", ["", "12F 3456", "1A 3456", "12A 345", "12A 34567", "A12 3456", "12A-3456", "١٢A 3456"]
)
def test_what_is_no_plate_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="write a text such as 00A 0000, where 0 stands for any of 0123456789, A"):
        parse_text(text)
