"""The likeliest text of a plate, given its characters and a whole-plate reading."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from shardline.tasks.plates.grammar import built_in
from shardline.tasks.plates.search import EMPTY, Characters, read_text
from shardline.tasks.plates.text import PlateText, random_text

CHARACTERS = built_in().characters

KINDS = ["regular", "long"]


def place(text: str, kind: str) -> list[tuple[float, float]]:
    """Centres of the characters of a text on a plate whose characters are 10 px wide and 20 px high."""
    if kind == "long":
        return [(10.0 * index, 0.0) for index in range(len(text))]
    return [(10.0 * (index % 3), -15.0) if index < 3 else (10.0 * (index - 3), 15.0) for index in range(len(text))]


def characters(text: str, at: Sequence[tuple[float, float]], score: float = 0.9) -> Characters:
    """One detection for each character of a text, ordered along the plate."""
    order = np.argsort([x for x, _ in at], kind="stable")
    scores = np.zeros((len(text), len(CHARACTERS)))
    scores[np.arange(len(text)), [CHARACTERS.index(character) for character in text]] = score
    return Characters(
        scores=scores[order],
        at=np.array(at, np.float64).reshape(-1, 2)[order],
        widths=np.full(len(text), 8.0),
        heights=np.full(len(text), 20.0),
        claims=np.zeros((len(text), 2)),
    )


def whole(text: str, chance: float) -> NDArray[np.float64]:
    """A whole-plate reading that gives each character of a text a chance."""
    chances = np.full((7, 16), (1 - chance) / 15)
    chances[np.arange(7), [CHARACTERS.index(character) for character in text]] = chance
    return chances


def written(text: PlateText) -> str:
    return text.groups[0] + text.groups[1]


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from(KINDS))
def test_every_text_is_read(seed: int, kind: str) -> None:
    text = random_text(np.random.default_rng(seed))

    reading = read_text(characters(written(text), place(written(text), kind)), kind)

    assert (reading.groups[0].text, reading.groups[1].text, reading.is_whole) == (text.groups[0], text.groups[1], True)
    assert reading.groups[0].scores == (0.9,) * 3
    assert reading.log_score == pytest.approx(7 * np.log(0.9))


@pytest.mark.parametrize("kind", KINDS)
def test_a_missing_character_leaves_its_group_open(kind: str) -> None:
    at = place("12A3456", kind)
    del at[4]

    reading = read_text(characters("12A356", at), kind)

    assert (reading.groups[0].text, reading.groups[1].text, reading.is_whole) == ("12A", None, False)
    assert reading.groups[1].characters.count(None) == 1
    assert reading.log_score == pytest.approx(6 * np.log(0.9) + EMPTY)


def test_no_characters() -> None:
    reading = read_text(characters("", []), "long")

    assert reading.groups[0].characters == (None,) * 3
    assert reading.groups[1].characters == (None,) * 4


def test_a_character_too_many_is_left_out() -> None:
    at = [*place("12A3456", "long"), (70.0, 0.0)]
    found = characters("12A34567", at)
    found.scores[7] *= 0.3

    assert read_text(found, "long").groups[1].text == "3456"


def test_a_character_of_another_size_or_line_is_not_in_the_row() -> None:
    at = [*place("12A3456", "long"), (35.0, -18.0)]
    found = characters("12A34560", at)
    bolt = int(np.flatnonzero(found.at[:, 1] == -18.0)[0])
    found.heights[bolt] = 8.0

    assert read_text(found, "long").groups[1].text == "3456"


def test_a_whole_plate_reading_fills_a_gap() -> None:
    at = place("12A3456", "long")
    del at[4]

    reading = read_text(characters("12A356", at), "long", whole("12A3456", 0.95))

    assert reading.groups[1].text == "3456"


@pytest.mark.parametrize(
    ("missed", "believed"),
    [
        (4, "12A3356"),  # repeats the character before the covered one
        (4, "12A3556"),  # and the one behind it
        (4, "12A3646"),  # is another one where a character was detected, too
        (1, "11A3456"),
    ],
)
def test_a_covered_character_is_not_replaced_by_its_neighbours(missed: int, believed: str) -> None:
    """The true text is 12A3456."""
    at = place("12A3456", "long")
    del at[missed]
    seen = "12A3456"[:missed] + "12A3456"[missed + 1 :]

    reading = read_text(characters(seen, at, score=0.99), "long", whole(believed, 0.99))

    hidden, other = (reading.groups[0], reading.groups[1]) if missed < 3 else (reading.groups[1], reading.groups[0])
    assert hidden.text is None
    assert other.text == ("3456" if missed < 3 else "12A")


def test_two_ones_that_are_detected_as_one_are_read() -> None:
    at = place("12A3116", "long")
    del at[5]
    found = characters("12A316", at, score=0.99)
    text = whole("12A3116", 0.99)

    assert read_text(found, "long", text).groups[1].text is None
    found.widths[4] = 10.0
    assert read_text(found, "long", text).groups[1].text == "3116"


def test_a_whole_plate_reading_is_held_to_the_grammar() -> None:
    """It may say a digit where a letter stands; the reading never does."""
    reading = read_text(characters("", []), "long", whole("1234567", 0.95))

    assert reading.groups[0].text is None
    assert reading.groups[0].characters[:2] == ("1", "2")
    assert reading.groups[1].text == "4567"


def test_both_readings_together_are_surer_than_one() -> None:
    found = characters("12A3456", place("12A3456", "long"), score=0.5)

    alone, both = read_text(found, "long"), read_text(found, "long", whole("12A3456", 0.95))

    assert both.log_score > alone.log_score
