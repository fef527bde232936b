"""Pictures whose prediction is clear enough to check replies by."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.pictures import choose_clear
from benchmarks.processes import UnavailableError

FILES = [Path(f"{index}.jpg") for index in range(4)]
SURE, UNSURE = [0.1, 0.6, 0.3], [0.3999, 0.4, 0.2001]


def test_only_clear_pictures_are_chosen() -> None:
    pictures = choose_clear(FILES, np.array([SURE, UNSURE, SURE[::-1], SURE]))

    assert pictures.files == (FILES[0], FILES[2], FILES[3])
    assert pictures.classes == (1, 1, 1)


def test_too_few_clear_pictures_check_nothing() -> None:
    with pytest.raises(UnavailableError, match="clear for 2 of 4 pictures; 3 are needed"):
        choose_clear(FILES, np.array([SURE, UNSURE, UNSURE, SURE]))
