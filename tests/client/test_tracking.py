"""Tracking of plates over frames, and the vote over their characters."""

import random
from typing import Any

import pytest

from shardline.client.plates import Plate, read_plates
from shardline.client.tracking import FramePosition, GroupVotes, PlateTracker, Track


def plate(text: str | None, left: float, top: float = 100, *, width: float = 100, **more: Any) -> Plate:
    small, main = (text[:3], text[3:]) if text else (None, None)
    said = {
        "type": "long", "score": 0.9, "sub_text": small, "main_text": main,
        "box": [left, top, left + width, top + width / 5], **more,
    }  # fmt: skip
    (read,) = read_plates([said]) or []
    return read


def follow(frames: list[list[Plate]], least: int = 2, numbers: range | None = None) -> list[Track]:
    tracker = PlateTracker(least)
    for number, plates in zip(numbers or range(len(frames)), frames, strict=False):
        tracker.update(FramePosition(number=number, time_s=number / 25, name=str(number)), plates, crop)
    return tracker.finish()


def crop(plate: Plate) -> bytes:
    return plate.text.encode()


def test_a_plate_is_read_by_the_vote_of_its_characters() -> None:
    """No frame reads all of it right."""
    truth = "12A3456"
    misread = [truth[:spot] + "9" + truth[spot + 1 :] for spot in (0, 1, 3, 4, 5, 6)]
    (track,) = follow([[plate(text, 10 + 20 * number)] for number, text in enumerate(misread)])

    assert (track.text, track.frames, track.votes) == ("12A 3456", 6, 0)
    assert min(track.shares) == pytest.approx(5 / 6)
    assert (track.first.number, track.last.number) == (0, 5)


def test_character_scores_weigh_the_votes() -> None:
    def scored(text: str, score: float) -> Plate:
        return plate(text, 10, characters=[{"character": name, "score": score} for name in text])

    (track,) = follow([[scored("12A3456", 0.99)], [scored("12A3455", 0.4)], [scored("12A3455", 0.4)]])
    assert track.text == "12A 3456"


def test_a_text_of_another_length_does_not_shift_the_vote() -> None:
    votes = GroupVotes()
    for text in ("3456", "345", "3456", "?456"):
        votes.add(text, [1.0] * len(text))

    assert votes.result() == ("3456", [1.0] * 4)
    assert GroupVotes().result() == (None, [])


def test_plates_that_pass_each_other_stay_two() -> None:
    """Also where one hides the other for some frames."""
    frames = []
    for number in range(40):
        there, back = plate("12A3456", 20.0 * number), plate("77E0012", 780 - 20.0 * number, 104)
        frames.append([there] if 17 <= number <= 22 else [there, back])
    tracks = follow(frames)

    assert [(track.text, track.frames) for track in tracks] == [("12A 3456", 40), ("77E 0012", 34)]


def test_a_fast_plate_is_followed_by_its_text() -> None:
    tracks = follow([[plate("12A3456", 250.0 * number)] for number in range(8)])

    assert [(track.text, track.frames) for track in tracks] == [("12A 3456", 8)]


def test_a_plate_that_cannot_be_read_is_followed_by_its_box() -> None:
    (track,) = follow([[plate(None, 10.0 + number)] for number in range(5)])

    assert (track.text, track.frames, track.shares) == ("??? ????", 5, [])


def test_a_plate_that_comes_back_is_one_line() -> None:
    away: list[list[Plate]] = [[]] * 30
    (track,) = follow([[plate("12A3456", 10)]] * 3 + away + [[plate("12A3456", 700)]] * 4)

    assert (track.frames, track.first.number, track.last.number) == (7, 0, 36)


def test_frames_may_be_left_out() -> None:
    (track,) = follow([[plate("12A3456", 10.0 + number)] for number in range(5)], numbers=range(0, 200, 40))

    assert (track.frames, track.last.number) == (5, 160)


def test_a_plate_of_one_frame_is_left_out_and_counted() -> None:
    tracker = PlateTracker()
    for number in range(40):
        plates = [plate("12A3456", 10), *([plate("90B8888", 500, 300)] if number == 3 else [])]
        tracker.update(FramePosition(number=number, time_s=None, name=""), plates, crop)

    assert [track.text for track in tracker.finish()] == ["12A 3456"]
    assert tracker.hidden == 1
    assert len(follow([[plate("12A3456", 10)]], least=1)) == 1


def test_the_best_frame_is_a_complete_one_with_the_highest_score() -> None:
    scores = [("12A3456", 0.7), (None, 0.99), ("12A3456", 0.9), ("12A3456", 0.8)]
    (track,) = follow([[plate(text, 10, score=score)] for text, score in scores])

    assert (track.best.frame.number, track.best.crop) == (2, b"12A 3456")


def test_memory_does_not_grow_with_the_frames() -> None:
    """Memory stays bounded for a plate whose readings never repeat: few texts are kept."""
    numbers = random.Random(0)
    (track,) = follow([[plate(f"12A{numbers.randrange(10_000):04}", 10)] for _ in range(2000)])

    assert track.frames == 2000
    assert len(track.texts) <= 401


def test_groups_of_another_grammar_are_voted_over() -> None:
    said = {"type": "car", "score": 0.9, "box": [0, 0, 100, 20], "area": "KX", "year": "42", "series": "WJZ"}
    frames = [read_plates([said | more]) or [] for more in ({"year": "43"}, {"series": None}, {}, {"area": "HX"})]
    (track,) = follow(frames)

    assert (track.text, track.votes, track.whole) == ("KX 42 WJZ", 1, True)
    assert dict(track.reading) == {"area": "KX", "year": "42", "series": "WJZ"}


def test_a_plate_without_any_group_is_followed() -> None:
    (track,) = follow([read_plates([{"type": "car", "score": 0.9, "box": [0, 0, 100, 20], "area": None}]) or []] * 3)

    assert (track.text, track.frames, track.whole) == ("?", 3, False)
