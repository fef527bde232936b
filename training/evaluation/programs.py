"""Modules of torch as what an evaluation runs: their outputs as arrays by name."""

from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils._pytree import tree_leaves

from shardline.training.evaluation.difference import Outputs
from shardline.training.evaluation.sources import Pixels, Run


def run_module(module: nn.Module) -> Run:
    """A module that takes pixels, uint8 [batch, 3, height, width], and gives tensors, however nested."""

    def run(pixels: Pixels) -> Outputs:
        with torch.inference_mode():
            outputs: list[Any] = tree_leaves(module(torch.from_numpy(pixels)))
        return {f"output_{number}": np.asarray(value) for number, value in enumerate(outputs)}

    return run
