"""The whole model without a server: its logits, its probabilities and its times."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.systems.floor import eager, measure, write_probabilities

PIXELS = np.random.default_rng(0).integers(0, 256, (3, 3, 32, 32), dtype=np.uint8)


def test_probabilities_of_each_picture(small_bundle: Path, tmp_path: Path) -> None:
    run = eager(small_bundle, "cpu")
    write_probabilities(run, PIXELS, tmp_path / "out.npy")
    found = np.load(tmp_path / "out.npy")

    assert (found.shape, found.dtype.name) == ((3, 10), "float32")
    assert found.sum(axis=1) == pytest.approx(1, abs=1e-5)
    assert found.argmax(axis=1).tolist() == [int(run(PIXELS[index : index + 1]).argmax()) for index in range(3)]


def test_times_of_batches_that_repeat_the_pictures() -> None:
    batches: list[int] = []

    def run(pixels: np.ndarray) -> np.ndarray:
        batches.append(len(pixels))
        return pixels

    figures = measure(run, PIXELS, batch=8, seconds=0.01)

    assert set(batches) == {8}
    assert figures["times_ms"]
