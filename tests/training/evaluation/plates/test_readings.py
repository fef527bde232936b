"""Outcomes of plates with known predictions, and their proportions by group."""

from typing import Any

import pytest
from services.knowing_detector import plate, reply

from shardline.training.evaluation.metrics import Proportion
from shardline.training.evaluation.plates.pictures import PlatePicture, TruePlate
from shardline.training.evaluation.plates.readings import (
    PlateReadings,
    ReadingOutcome,
    covered_groups,
    judge,
    scored_candidates,
    scored_characters,
)


def sample(*plates: TruePlate) -> PlatePicture:
    return PlatePicture(name="it", picture=b"", size=(1000, 100), plates=plates)


@pytest.mark.parametrize(
    ("changes", "outcome"),
    [
        ({}, ReadingOutcome.RIGHT),
        ({"type": "regular"}, ReadingOutcome.WRONG_TYPE),
        ({"main_text": "3457"}, ReadingOutcome.MISREAD),
        ({"sub_text": "13A", "type": "regular"}, ReadingOutcome.MISREAD),
        ({"sub_text": None, "missing": ["sub_text"]}, ReadingOutcome.INCOMPLETE),
        ({"box": [0, 10, 49, 40]}, ReadingOutcome.NOT_FOUND),
    ],
)
def test_outcome_of_a_plate(changes: dict[str, Any], outcome: ReadingOutcome) -> None:
    judged = judge(sample(plate()), [reply(plate(), **changes)])

    assert judged.plates[0].outcome is outcome
    assert len(judged.false) == (outcome is ReadingOutcome.NOT_FOUND)


def test_without_predictions_no_plate_is_found() -> None:
    assert judge(sample(plate()), []).plates[0].outcome is ReadingOutcome.NOT_FOUND
    assert judge(sample(), []).plates == ()


def test_a_second_prediction_for_a_plate_is_a_false_positive() -> None:
    """The one with the higher score counts."""
    judged = judge(sample(plate()), [reply(plate(), 0.8, main_text="9999"), reply(plate(), 0.9)])

    assert judged.plates[0].outcome is ReadingOutcome.RIGHT
    assert [each["main_text"] for each in judged.false] == ["9999"]


def test_predictions_on_a_plate_that_is_not_readable_are_ignored() -> None:
    """A prediction that covers a part of such a plate is ignored, too."""
    covered = plate(readable=False)
    judged = judge(sample(covered), [reply(plate(width=30)), reply(plate(left=500))])

    assert judged.plates == ()
    assert len(judged.ignored) == 1
    assert [each["box"][0] for each in judged.false] == [500]


def test_what_is_reported_of_a_group_with_a_covered_character() -> None:
    """Three plates: nothing, a guess that is wrong, and one that is right; the other groups do not count."""
    covered = [plate(left=200 * number, readable=False, readable_groups=(True, False)) for number in range(3)]
    changes: list[dict[str, Any]] = [{"main_text": None}, {"main_text": "9999"}, {"sub_text": "99A"}]

    judged = judge(sample(*covered), [reply(hidden, **change) for hidden, change in zip(covered, changes, strict=True)])

    assert sorted(covered_groups(judged)) == ["guessed right", "misread", "not read"]


def test_candidates_and_characters_are_compared_with_the_true_text() -> None:
    candidates = [
        {"sub_text": "12A", "main_text": "3456", "probability": 0.75},
        {"sub_text": "12A", "main_text": "3459", "probability": 0.25},
    ]
    characters = [{"character": character, "score": 0.5} for character in "3459"]
    judged = judge(
        sample(plate()), [reply(plate(), sub_text=None, main_text="3459", candidates=candidates, characters=characters)]
    )

    assert list(scored_candidates(judged)) == [(0.75, True), (0.25, False)]
    assert list(scored_characters(judged)) == [(0.5, True), (0.5, True), (0.5, True), (0.5, False)]


def test_boxes_are_clipped_to_the_picture() -> None:
    judged = judge(sample(plate(width=60)), [reply(plate(), box=[-200, 10, 60, 40])])

    assert judged.plates[0].outcome is ReadingOutcome.RIGHT


def test_shares_by_group() -> None:
    readings = PlateReadings()
    for width, right in [(120, True), (127, False), (128, True), (300, True), (10, False)]:
        asked = sample(plate(width=width))
        readings.add(asked, judge(asked, [reply(asked.plates[0])] if right else []), scale=1.0)
    tilted = sample(plate(angle_deg=-12.0, kind="regular", font="two"))
    readings.add(tilted, judge(tilted, [reply(tilted.plates[0], main_text="0000")]), scale=0.5)
    figures = readings.metrics()

    assert (figures.all.count, figures.all.right) == (6, 3)
    assert counts(figures.by["width"]) == {
        "0–16 px": (0, 1),
        "32–64 px": (0, 1),  # 100 pixels, of which the network sees half
        "96–128 px": (1, 2),
        "128 px and more": (2, 2),
    }
    assert counts(figures.by["type"]) == {"long": (3, 5), "regular": (0, 1)}
    assert counts(figures.by["angle"]) == {"0–5°": (3, 5), "10–15°": (0, 1)}
    assert counts(figures.by["font"]) == {"one": (3, 5), "two": (0, 1)}
    assert figures.outcomes == {"right": 3, "wrong type": 0, "misread": 1, "incomplete": 0, "not found": 2}
    assert figures.pictures == 6


def counts(shares: tuple[Proportion, ...]) -> dict[str, tuple[int, int]]:
    return {each.name: (each.right, each.count) for each in shares}


def test_without_plates_there_is_no_share() -> None:
    figures = PlateReadings().metrics()

    assert figures.all.share is None
    assert all(shares == () for shares in figures.by.values())
