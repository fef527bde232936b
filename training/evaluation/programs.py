"""Modules of torch as sources: their outputs as arrays by name."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils._pytree import tree_leaves

from partition.program import one_line
from training.checkpoint import load
from training.detector.fold import fold
from training.detector.model import PlateDetector
from training.evaluation.detections import Outputs
from training.evaluation.sources import Pixels, Run
from wire.errors import ModelError


def run_module(module: nn.Module) -> Run:
    """A module that takes pixels, uint8 [batch, 3, height, width], and gives tensors, however nested."""

    def run(pixels: Pixels) -> Outputs:
        with torch.inference_mode():
            outputs: list[Any] = tree_leaves(module(torch.from_numpy(pixels)))
        return {f"output_{number}": np.asarray(value) for number, value in enumerate(outputs)}

    return run


def from_checkpoint(path: Path) -> PlateDetector:
    """The detector of a training's checkpoint, with its averaged weights.

    Raises:
        ModelError: it is none of ours, or of another model.
    """
    trained = PlateDetector(normed=True)
    try:
        trained.load_state_dict(load(path).average)
    except RuntimeError as exc:
        raise ModelError(f"{path} is a checkpoint of another model: {one_line(exc)}") from exc
    return fold(trained)
