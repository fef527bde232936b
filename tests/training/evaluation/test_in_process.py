"""Models that an evaluation runs in this process: a bundle's chain and its whole give the same numbers."""

from pathlib import Path

import numpy as np
import pytest
import torch

from shardline.training.evaluation.in_process import open_bundle_models, open_program, read_bundle_for, run_module
from shardline.wire.errors import BundleError


def test_a_chain_and_its_whole_are_equal(small_bundle: Path, photographs: list[bytes]) -> None:
    chain, whole = open_bundle_models(small_bundle, "classify", "portable")
    program = open_program(small_bundle / "whole.pt2", "classify")
    pixels, view = chain.fit(photographs[0])
    [expected] = whole.run(pixels).values()

    assert (chain.name, whole.name, program.name) == ("small: 3 shards, fp32", "small: whole", "small: whole")
    assert (pixels.shape, pixels.dtype.name) == ((1, 3, 32, 32), "uint8")
    assert view.width > 32
    for model in (chain, program):
        [found] = model.run(pixels).values()
        np.testing.assert_array_equal(found, expected)


def test_a_bundle_of_another_task(small_bundle: Path) -> None:
    with pytest.raises(BundleError, match="is a bundle for the task 'classify': name one of `plates`"):
        read_bundle_for(small_bundle, "plates")


def test_outputs_of_a_module_are_numbered() -> None:
    class Nested(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> dict[str, list[torch.Tensor]]:
            return {"a": [x.sum(), x.float().mean()]}

    outputs = run_module(Nested())(np.full((1, 3, 2, 2), 2, np.uint8))

    assert {name: float(value) for name, value in outputs.items()} == {"output_0": 24, "output_1": 2}
