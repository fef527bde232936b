"""The fonts: all there, free, pinned, and a third of them held out."""

import itertools
import json
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from services.processes import ROOT

from shardline.training.plates.fonts import FAMILIES, families, glyph, random_font
from shardline.wire.errors import MissingPackageError

DIGITS, USES = "0123456789", "ABCDE"


@pytest.mark.parametrize("family", FAMILIES)
def test_a_font_is_free_and_tells_its_characters_apart(family: str) -> None:
    font = random_font(np.random.default_rng(0), (family,))
    drawn = {char: np.asarray(glyph(font, char, 96).mask.resize((24, 32))) for char in DIGITS + USES}

    spec = find_spec(f"fontpkg_{family.replace('-', '_')}")
    assert spec is not None
    assert spec.origin is not None
    metadata = json.loads(Path(spec.origin).with_name("metadata.json").read_text(encoding="utf-8"))
    assert metadata["license"] in ("OFL-1.1", "Apache-2.0")
    for one, other in itertools.combinations(drawn, 2):
        assert np.abs(drawn[one].astype(int) - drawn[other]).mean() > 10, (one, other)


@pytest.mark.parametrize("family", FAMILIES)
def test_digits_are_as_high_as_a_zero(family: str) -> None:
    """Old-style figures, some of which hang below the line, are on no plate."""
    font = random_font(np.random.default_rng(0), (family,))

    for char in DIGITS:
        assert abs(glyph(font, char, 96).height - 1) < 0.1
        assert abs(glyph(font, char, 96).top) < 0.1


def test_the_extra_pins_each_font() -> None:
    lines = (ROOT / "requirements" / "plates.txt").read_text(encoding="utf-8").splitlines()

    assert [line for line in lines if not line.startswith("#")] == [
        f"fontpkg-{family}=={version(f'fontpkg-{family}')}" for family in FAMILIES
    ]


def test_a_third_is_held_out() -> None:
    train, held_out = families("train"), families("held-out")

    assert sorted((*train, *held_out)) == sorted(families("all")) == sorted(FAMILIES)
    assert (len(train), len(held_out)) == (70, 39)


def test_relatives_are_on_one_side() -> None:
    first_words = [{family.partition("-")[0] for family in families(side)} for side in ("train", "held-out")]

    assert first_words[0] & first_words[1] == set()


def test_a_font_that_is_not_installed() -> None:
    with pytest.raises(MissingPackageError, match=r"pip install 'shardline\[plates\]'"):
        random_font(np.random.default_rng(0), ("no-such-font",))
