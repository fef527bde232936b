"""Which pictures are asked about, and what with."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.bundles import BundleSpec
from benchmarks.pictures import choose_clear
from benchmarks.processes import UnavailableError
from benchmarks.rounds import rotated

FILES = [Path(f"{index}.jpg") for index in range(4)]
SURE, UNSURE = [0.1, 0.6, 0.3], [0.3999, 0.4, 0.2001]


def test_only_clear_pictures_are_asked_about() -> None:
    pictures = choose_clear(FILES, np.array([SURE, UNSURE, SURE[::-1], SURE]))

    assert pictures.files == (FILES[0], FILES[2], FILES[3])
    assert pictures.classes == (1, 1, 1)


def test_too_few_clear_pictures_check_nothing() -> None:
    with pytest.raises(UnavailableError, match="clear for 2 of 4 pictures; 3 are needed"):
        choose_clear(FILES, np.array([SURE, UNSURE, UNSURE, SURE]))


def test_a_bundles_name_says_what_differs() -> None:
    spec = BundleSpec(stages=3, precision="bf16", compiled=True, size=160)

    assert spec.name == "resnet50-k3-bf16-160px-compiled"
    assert {"--precision=bf16", "--compile=cpu", "--size=160", "--stages=3"} <= set(spec.command(Path("x")))
    assert BundleSpec(stages=1).name == "resnet50-k1-fp32"


def test_each_round_begins_with_another() -> None:
    assert [rotated("abc", by) for by in range(4)] == [list("abc"), list("bca"), list("cab"), list("abc")]
    assert rotated([], 1) == []
