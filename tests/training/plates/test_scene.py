"""Texts on signs that are not plates: never the text of a plate, otherwise anything on request."""

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from shardline.tasks.plates.grammar import built_in
from shardline.tasks.plates.text import is_text
from shardline.training.plates.backgrounds import Backgrounds
from shardline.training.plates.fonts import families
from shardline.training.plates.picture import draw_picture
from shardline.training.plates.scene import Scene, any_writing, unlike_plates
from shardline.training.samples import sample_files
from shardline.wire.errors import UsageError


def test_there_are_words_numbers_and_other_plates_in_one_row_and_two() -> None:
    random = np.random.default_rng(1)
    written = [any_writing(random, built_in()) for _ in range(400)]
    rows = [row for item in written for row in item]

    assert {len(item) for item in written} == {1, 2}
    for kind in (r"\d+", r"[A-Z][a-z]+", r"[a-z]+", r"[A-Z]+", r"\d\d/\d\d/\d\d", r"[A-Z]{2}\d{6}"):
        assert any(re.fullmatch(kind, row) for row in rows), kind
    assert not any(is_text("".join(item)) for item in written)


def test_is_text() -> None:
    assert [is_text(value) for value in ("12A3456", "12a 3456", "12F3456", "1999", "")] == [
        True,
        True,
        False,
        False,
        False,
    ]


def test_letters_unlike_those_of_plates() -> None:
    random = np.random.default_rng(1)
    letters = set("".join(unlike_plates(random, built_in()) for _ in range(100)))

    assert letters
    assert not letters & set("ABCDEIOSZGQ0123456789")


def test_signs_are_where_the_picture_differs_and_change_no_plate() -> None:
    scene = Scene(size=(256, 256), plates=(0, 0), signs=1.0, most_signs=6, writing=1.0, camera=0.0, cut_off=0.0)
    backgrounds = Backgrounds(files=tuple(sample_files()))
    seen = [
        draw_picture(np.random.default_rng(seed), value, families("train"), backgrounds)
        for seed in range(8)
        for value in (scene, replace(scene, signs=0.0))
    ]

    for with_signs, without in zip(seen[::2], seen[1::2], strict=True):
        changed = (with_signs.pixels != without.pixels).any(2)
        inside = np.zeros_like(changed)
        for sign in with_signs.signs:
            left, top, right, bottom = sign.box
            pad = 0.2 * max(right - left, bottom - top)  # a holder's frame is not part of the board
            inside[max(0, int(top - pad)) : int(bottom + pad), max(0, int(left - pad)) : int(right + pad)] = True
        assert without.signs == ()
        assert with_signs.plates == without.plates == ()
        assert not (changed & ~inside).any()
    assert sum(len(item.signs) for item in seen[::2]) > 8


@pytest.mark.parametrize("share", [-0.1, 1.5])
def test_a_share_that_is_none(share: float) -> None:
    with pytest.raises(UsageError, match=r"writing .*: allowed is 0 to 1"):
        Scene(writing=share)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"size": (20, 200)}, "32 pixels a side"),
        ({"wear": 1.5}, "wear 1.5: allowed is 0 to 1"),
        ({"least_width_px": 150}, "allowed is 8 to 144"),
        ({"plates": (3, 1)}, "3 to 1 plates"),
        ({"tilt_deg": 90}, "tilt 0 to 70"),
    ],
)
def test_a_scene_that_cannot_be(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Scene(**{"size": (160, 128), "least_width_px": 30, **wrong})
