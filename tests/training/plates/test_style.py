"""Styles are readable, and every layout stays inside its room, the characters in order and apart."""

import numpy as np
import pytest

from shardline.tasks.plates.grammar import built_in
from shardline.tasks.plates.text import random_text
from shardline.training.plates.fonts import families
from shardline.training.plates.style import Area, arrange, luma, random_style, rows_of

KINDS = [plate_type.name for plate_type in built_in().types]

LONG = built_in().type_named("long")
ROOM = Area(left=10, top=5, right=210, bottom=55)


@pytest.mark.parametrize("kind", KINDS)
def test_characters_are_in_the_room_and_in_order(kind: str) -> None:
    for seed in range(25):
        random = np.random.default_rng(seed)
        plate_type = built_in().type_named(kind)
        style = random_style(random, built_in(), plate_type, families("train")[:6])
        text = random_text(random)
        placed = arrange(rows_of(text, plate_type), style, ROOM, 50)

        assert "".join(glyph.char for glyph in placed) == str(text).replace(" ", "")
        for group in (0, 1):
            row = [glyph for glyph in placed if glyph.group == group]
            lefts = [glyph.left for glyph in row]
            assert lefts == sorted(lefts)
            assert row[0].left >= ROOM.left - 1
            assert row[-1].left + row[-1].width <= ROOM.right + 1


def test_ink_stands_out_from_the_ground() -> None:
    styles = [random_style(np.random.default_rng(seed), built_in(), LONG, families("train")[:1]) for seed in range(60)]

    assert min(abs(luma(style.ground) - luma(style.ink)) for style in styles) > 45
    assert len({style.ground for style in styles}) > 20
