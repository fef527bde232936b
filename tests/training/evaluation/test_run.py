"""The evaluation loop: order of predictions, the picture that an error names, and the worst cases."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from shardline.training.evaluation.run import WorstCases, predict_all
from shardline.wire.errors import PictureError


@dataclass(frozen=True)
class Numbered:
    name: str
    picture: bytes


PICTURES = [Numbered("a.png", b"a"), Numbered("b.png", b"bb")]


def test_every_picture_goes_to_every_predictor_once() -> None:
    advanced: list[int] = []
    found: list[tuple[str, list[object]]] = []
    predictors: list[Callable[[bytes], object]] = [len, bytes.upper]
    for picture, predictions in predict_all(PICTURES, predictors, lambda: advanced.append(len(found))):
        found.append((picture.name, predictions))

    assert found == [("a.png", [1, b"A"]), ("b.png", [2, b"BB"])]
    assert advanced == [1, 2]  # after a picture's predictions were used


def test_an_error_names_the_picture() -> None:
    def refuse(picture: bytes) -> int:
        if picture == b"bb":
            raise PictureError("truncated")
        return 0

    with pytest.raises(PictureError, match=r"b\.png: truncated"):
        list(predict_all(PICTURES, [refuse], lambda: None))


def test_the_worst_cases_are_kept_and_only_these_are_made() -> None:
    worst: WorstCases[str] = WorstCases(most=2)
    made: list[str] = []

    def make(name: str) -> str:
        made.append(name)
        return name

    for badness, name in [(1, "a"), (3, "b"), (3, "c"), (2, "d"), (3, "e")]:
        worst.add(badness, lambda name=name: make(name))  # type: ignore[misc]

    assert worst.worst_first() == ["b", "c"]
    assert made == ["a", "b", "c"]


def test_no_cases_are_kept_where_none_are_wanted() -> None:
    worst: WorstCases[str] = WorstCases(most=0)
    worst.add(1, lambda: pytest.fail("made"))

    assert worst.worst_first() == []
