"""Candidates of a plate's text: probabilities, their order, and what a covered character leaves open."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from shardline.tasks.plates.candidates import text_candidates
from shardline.tasks.plates.grammar import built_in
from shardline.tasks.plates.search import Characters, read_text
from shardline.tasks.plates.text import parse_text

KINDS = [plate_type.name for plate_type in built_in().types]

CHARACTERS = 15
CERTAIN = 0.999


def on_a_row(scores: NDArray[np.float64]) -> Characters:
    """Characters with the given scores, float64 [n, 15], side by side on a long plate."""
    count = len(scores)
    at = np.stack((10.0 * np.arange(count), np.zeros(count)), axis=1)
    sizes = np.full(count, 20.0)
    return Characters(scores=scores, at=at, widths=sizes / 2, heights=sizes, claims=np.zeros((count, 2)))


def written(text: str, score: float = CERTAIN) -> NDArray[np.float64]:
    scores = np.zeros((len(text), CHARACTERS))
    scores[np.arange(len(text)), ["0123456789ABCDE".index(character) for character in text]] = score
    return scores


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 9), st.sampled_from(KINDS), st.booleans())
def test_probabilities_are_ordered_and_the_text_that_is_read_comes_first(
    seed: int, count: int, kind: str, both: bool
) -> None:
    random = np.random.default_rng(seed)
    scores = random.dirichlet(np.full(CHARACTERS, 0.1), count) * random.uniform(0.05, 1, (count, 1))
    whole = random.dirichlet(np.full(CHARACTERS + 1, 0.1), 7) if both else None

    reading = read_text(on_a_row(scores), kind, whole)
    found = text_candidates(reading)

    probabilities = [candidate.probability for candidate in found]
    assert len({candidate.texts for candidate in found}) == 3
    assert probabilities == sorted(probabilities, reverse=True)
    assert all(0 <= probability <= 1 for probability in probabilities)
    assert sum(probabilities) <= 1 + 1e-9
    assert all(str(parse_text("".join(candidate.texts))) for candidate in found)
    if reading.is_whole:
        assert found[0].texts == (reading.groups[0].text, reading.groups[1].text)


def test_a_clear_text_is_nearly_certain() -> None:
    first, second, _ = text_candidates(read_text(on_a_row(written("12A3456")), "long"))

    assert first.texts == ("12A", "3456")
    assert first.probability > 0.99
    assert second.probability < 0.01


def test_two_equal_characters_are_equally_likely() -> None:
    scores = written("12A3456")
    scores[3, [3, 8]] = 0.5

    first, second, third = text_candidates(read_text(on_a_row(scores), "long"))

    assert {first.texts[1], second.texts[1]} == {"3456", "8456"}
    assert first.probability == pytest.approx(second.probability) == pytest.approx(0.5, abs=0.1)
    assert third.probability < 0.1


def test_all_texts_together_have_the_probability_1() -> None:
    """A plate without characters may have any of 5 * 10**6 texts."""
    found = text_candidates(read_text(on_a_row(np.zeros((0, CHARACTERS))), "long"), most=4)

    assert [candidate.probability for candidate in found] == pytest.approx([1 / 5_000_000] * 4)


def test_a_missing_character_leaves_its_group_open() -> None:
    """It may be any digit at any of four positions; a text with two equal digits in a row fits twice."""
    found = text_candidates(read_text(on_a_row(written("12A456")), "long"))

    assert all(candidate.texts[0] == "12A" for candidate in found)
    assert all(1 / 50 < candidate.probability < 1 / 10 for candidate in found)


def test_a_group_that_cannot_be_read_follows_the_detected_characters_alone() -> None:
    """The whole-plate reading repeats the 5 beside a covered character: it is not believed."""
    whole = np.full((7, CHARACTERS + 1), 0.0)
    whole[np.arange(7), ["0123456789ABCDE".index(character) for character in "12A3556"]] = 1.0

    reading = read_text(on_a_row(written("12A356")), "long", whole)

    assert (reading.groups[0].text, reading.groups[1].text) == ("12A", None)
    assert all(candidate.probability < 0.1 for candidate in text_candidates(reading))
