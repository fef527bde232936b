"""Where detections come from: a program that runs in this process, or a chain that is served somewhere.

A program gives tensors, of which boxes and plates are made here; a served chain gives plates alone.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tasks.plates import read_plates
from training.evaluation.calibration import LEAST_SCORE
from training.evaluation.detections import Outputs
from training.evaluation.readings import Prediction
from wire.view import View

Pixels = NDArray[np.uint8]  # [1, 3, height, width]
Fit = Callable[[bytes], tuple[Pixels, View]]  # as the transformer does it
Run = Callable[[Pixels], Outputs]


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What is said of one picture. `unsure` are the plates down to calibration's least score, where they are known.

    `passes` is how often the network ran for it.
    """

    view: View
    outputs: Outputs | None
    plates: Sequence[Prediction]
    unsure: Sequence[Prediction]
    passes: int = 1


class Source(Protocol):
    """Something that can be shown a picture."""

    @property
    def name(self) -> str: ...

    def look(self, picture: bytes, threshold: float) -> Seen:
        """
        Raises:
            ShardlineError: the picture or the source is at fault.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A model, or a chain of shards, in this process: one picture at a time, as a stage runs it.

    Plates are made of its outputs by the very code that the last shard replies with.
    """

    name: str
    fit: Fit
    run: Run

    def look(self, picture: bytes, threshold: float) -> Seen:
        pixels, view = self.fit(picture)
        outputs = self.run(pixels)
        return Seen(
            view=view,
            outputs=outputs,
            plates=read_plates(outputs, view, threshold),
            unsure=read_plates(outputs, view, min(LEAST_SCORE, threshold)),
        )
