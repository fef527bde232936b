"""Styles are readable, and every layout stays inside its room, the characters in order and apart."""

import numpy as np
import pytest

from shardline.tasks.plates.text import KINDS, Kind, random_text
from shardline.training.plates.fonts import families
from shardline.training.plates.style import Area, arrange, luma, random_style

ROOM = Area(left=10, top=5, right=210, bottom=55)


@pytest.mark.parametrize("kind", KINDS)
def test_characters_are_in_the_room_and_in_order(kind: Kind) -> None:
    for seed in range(25):
        random = np.random.default_rng(seed)
        style, text = random_style(random, kind, families("train")[:6]), random_text(random)
        placed = arrange(text, kind, style, ROOM, 50)

        assert "".join(glyph.char for glyph in placed) == str(text).replace(" ", "")
        for group in ("s", "m"):
            row = [glyph for glyph in placed if glyph.group == group]
            lefts = [glyph.left for glyph in row]
            assert lefts == sorted(lefts)
            assert row[0].left >= ROOM.left - 1
            assert row[-1].left + row[-1].width <= ROOM.right + 1


def test_ink_stands_out_from_the_ground() -> None:
    styles = [random_style(np.random.default_rng(seed), "long", families("train")[:1]) for seed in range(60)]

    assert min(abs(luma(style.ground) - luma(style.ink)) for style in styles) > 45
    assert len({style.ground for style in styles}) > 20
