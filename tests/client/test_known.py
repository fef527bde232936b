"""Known plates: the nearest by the characters that are confused, and none where none is near."""

from pathlib import Path
from typing import Any

import pytest

from shardline.client.known import KnownPlates, edit_distance
from shardline.client.plates import Plate, known_text, read_plates
from shardline.client.target import Reply
from shardline.wire.errors import FileError, PredictorError

KNOWN = KnownPlates(["12A 3456", "77E 0012", "90B 8888"])


def plate(sub: str | None, main: str | None, **more: Any) -> Plate:
    said = {"type": "long", "score": 0.9, "box": [0, 0, 100, 20], "sub_text": sub, "main_text": main, **more}
    (read,) = read_plates([said]) or []
    return read


@pytest.mark.parametrize(
    ("read", "known", "distance"),
    [
        ("12A3456", "12A3456", 0),
        ("I2A3456", "12A3456", 0.4),
        ("12A3455", "12A3456", 1),
        ("12A345", "12A3456", 1),
        ("12A34566", "12A3456", 1),
        ("???3456", "12A3456", 0.9),
        ("77E0O12", "77E0012", 0.4),
        ("", "12A", 3),
    ],
)
def test_confused_characters_are_near(read: str, known: str, distance: float) -> None:
    assert edit_distance(read, known) == pytest.approx(distance)


def test_doubtful_characters_are_replaced_cheaply() -> None:
    assert edit_distance("12A3455", "12A3456", [1, 1, 1, 1, 1, 1, 0.3]) == pytest.approx(0.3)


@pytest.mark.parametrize(
    ("sub", "main", "known"),
    [
        ("12A", "3456", ["12A 3456"]),
        ("12A", "3450", ["12A 3456"]),
        ("17E", "0012", ["77E 0012"]),
        (None, "8888", ["90B 8888"]),
        ("12A", None, None),  # four characters are unread: too little
        ("55C", "1234", None),
        (None, None, None),
    ],
)
def test_the_nearest_plate_is_found(sub: str | None, main: str | None, known: list[str] | None) -> None:
    match = KNOWN.match(plate(sub, main))

    assert (list(match.texts) if match else None) == known


def test_character_scores_and_candidates_count() -> None:
    scores = [
        {"character": name, "score": score} for name, score in zip("12A3999", [1, 1, 1, 1, 0.3, 0.3, 0.3], strict=True)
    ]
    doubtful = KNOWN.match(plate("12A", "3999", characters=scores))
    candidates = [
        {"sub_text": "12A", "main_text": "3999", "probability": 0.6},
        {"sub_text": "12A", "main_text": "3456", "probability": 0.3},
    ]
    likely = KNOWN.match(plate("12A", "3999", candidates=candidates))

    assert KNOWN.match(plate("12A", "3999")) is None
    assert doubtful is not None
    assert (doubtful.texts, doubtful.probability) == (("12A 3456",), None)
    assert likely is not None
    assert (likely.texts, likely.distance, likely.probability) == (("12A 3456",), 0.7, 0.3)


def test_two_plates_that_are_equally_near_are_both_named() -> None:
    facts = KnownPlates(["12A 3456", "12A 3457"]).facts(plate("12A", "3459"))

    assert facts == {"known": None, "known_near": ["12A 3456", "12A 3457"]}
    assert known_text(facts) == "no known plate: 12A 3456 and 12A 3457 are equally near"
    assert known_text(KNOWN.facts(plate("55C", "1234"))) == "no known plate"
    assert known_text(KNOWN.facts(plate("12A", "3450"))) == "known: 12A 3456  distance 1"
    assert known_text({}) is None


def test_plates_of_a_reply_are_annotated() -> None:
    reply = Reply(predictions=([plate("12A", "3456").reported],), timings=None, seconds=0.0)

    (found,) = KNOWN.annotate(reply).predictions[0]
    assert found["known"] == {"plate": "12A 3456", "distance": 0}
    with pytest.raises(PredictorError, match="not of license plates: leave out --known"):
        KNOWN.annotate(Reply(predictions=({"label": "cat"},), timings=None, seconds=0.0))


def test_a_file_has_one_plate_per_line(tmp_path: Path) -> None:
    path = tmp_path / "known.txt"
    path.write_text("\ufeff# cars\n12a-3456  # Anna's\n\n 77 E 0012\n", encoding="utf-8")

    match = KnownPlates.read(path).match(plate("12A", "3456"))
    assert match is not None
    assert match.texts == ("12a-3456",)


@pytest.mark.parametrize(
    ("text", "message"),
    [("# nothing\n", "no plates: write one plate per line"), ("12A 3456\n--\n", "line 2: '--' is no plate")],
)
def test_a_file_without_plates(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "known.txt").write_text(text)

    with pytest.raises(FileError, match=message):
        KnownPlates.read(tmp_path / "known.txt")
    with pytest.raises(FileError, match="cannot be read"):
        KnownPlates.read(tmp_path)


def test_plates_of_another_grammar_are_known() -> None:
    said = {"type": "car", "score": 0.9, "box": [0, 0, 100, 20], "area": "KX", "year": "42", "series": "WJ2"}
    (read,) = read_plates([said]) or []
    match = KnownPlates(["KX42 WJZ", "AB12 CDE"]).match(read)

    assert match is not None
    assert (match.texts, match.distance) == (("KX42 WJZ",), 0.4)
