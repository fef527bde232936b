"""The process that runs the model alone: clear pictures and images per second."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.load import Load
from benchmarks.processes import UnavailableError
from benchmarks.systems.inprocess import InProcess


@pytest.mark.slow
def test_images_per_second(small_bundle: Path, tmp_path: Path) -> None:
    """With random weights no prediction is clear, so that no picture can be chosen."""
    random = np.random.default_rng(0)
    files = [tmp_path / f"{number}.png" for number in range(2)]
    for file in files:
        Image.fromarray(random.integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(file)
    model = InProcess(key="eager", bundle=small_bundle, program="eager", files=files)
    try:
        model.start(tmp_path)
        [sample] = model.measure([Load(clients=2, seconds=0.05), Load(rate_rps=1, seconds=1)], 0, warm_s=0)

        assert (sample.system, sample.load) == ("eager", "closed 2")
        assert sample.rps > 0
        assert len(model.memory()) == 1
        with pytest.raises(UnavailableError, match="of 2 pictures; 3 are needed"):
            model.choose_pictures(tmp_path)
    finally:
        model.stop()
    assert model.memory() == []
