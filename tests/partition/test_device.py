"""Where a shard computes. What needs a GPU is skipped where there is none."""

from pathlib import Path

import numpy as np
import pytest
import torch

from partition.device import choose_device
from partition.runtime import load_shard
from storage.bundle import stage_folder
from wire.errors import ModelError

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")


def test_cpu_is_always_there() -> None:
    assert choose_device("cpu").type == "cpu"


def test_auto_takes_the_gpu_where_there_is_one() -> None:
    assert choose_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_gpu_that_is_not_there_is_said() -> None:
    with pytest.raises(ModelError, match="this process sees no GPU; give the container one"):
        choose_device("cuda")


def test_an_unknown_device() -> None:
    with pytest.raises(ModelError, match="allowed are auto, cpu, cuda"):
        choose_device("tpu")


@needs_gpu
@pytest.mark.parametrize("index", range(3))
def test_a_shard_on_the_gpu_gives_what_it_gives_on_the_cpu(small_bundle: Path, index: int) -> None:
    """Within 1e-4 of the largest value: another device adds in another order."""
    folder = small_bundle / stage_folder(index)
    here, there = load_shard(folder), load_shard(folder, None, choose_device("cuda"))
    tensors = {
        spec.name: np.random.default_rng(0).random(spec.frame_shape_for(2)).astype("u1" if spec.dtype == "U8" else "f4")
        for spec in here.stage.inputs
    }
    expected, found = here.run(tensors), there.run(tensors)

    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, atol=1e-4 * float(np.abs(value).max()), rtol=0)
