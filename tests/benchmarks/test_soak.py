"""Slopes of memory and latency, and a soak of seconds."""

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.soak import is_flat, main, slope

HOUR = np.linspace(0, 3600, 20)


def test_the_slope_of_a_line_is_exact() -> None:
    found = slope("x", list(HOUR), list(100 + HOUR / 3600 * 5))

    assert (found.first, found.last, found.an_hour, found.low, found.high) == (100, 105, 5, 5, 5)
    assert not is_flat(found)


def test_noise_is_flat_and_growth_in_noise_is_not() -> None:
    noise = np.random.default_rng(0).normal(0, 1, len(HOUR))

    assert is_flat(slope("x", list(HOUR), list(100 + noise)))
    assert not is_flat(slope("x", list(HOUR), list(100 + noise + HOUR / 3600 * 30)))
    assert is_flat(slope("x", list(HOUR), list(100 - HOUR)))


@pytest.mark.heavy
def test_a_soak_of_seconds(small_bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["--minutes=0.2", f"--bundle={small_bundle}"])

    document = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert document["faulty"] == {}
    assert {found["series"] for found in document["slopes"]} >= {"p99 ms", "router MiB", "stage 2 MiB"}
