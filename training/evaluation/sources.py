"""A program that can be shown pictures in this process, whatever its task."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shardline.training.evaluation.difference import Outputs
from shardline.wire.view import View

Pixels = NDArray[np.uint8]  # [1, 3, height, width]
Fit = Callable[[bytes], tuple[Pixels, View]]  # as the transformer does it
Run = Callable[[Pixels], Outputs]


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A model, or a chain of shards: one picture at a time, as a stage runs them."""

    name: str
    fit: Fit
    run: Run
    labels: tuple[str, ...] = ()
