"""Where plates come from: a program that runs in this process, or a chain that is served somewhere.

A program gives tensors, of which boxes and plates are made here; a served chain gives plates alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from shardline.tasks.plates.task import read_plates
from shardline.training.evaluation.difference import Outputs
from shardline.training.evaluation.plates.readings import Prediction
from shardline.training.evaluation.sources import Program
from shardline.wire.view import View

LEAST_SCORE = 0.05  # scores far below the threshold show whether it is where it should be


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
class Reader:
    """A program whose outputs are read by the very code that the last shard replies with."""

    program: Program

    @property
    def name(self) -> str:
        return self.program.name

    def look(self, picture: bytes, threshold: float) -> Seen:
        pixels, view = self.program.fit(picture)
        outputs = self.program.run(pixels)
        return Seen(
            view=view,
            outputs=outputs,
            plates=read_plates(outputs, view, threshold),
            unsure=read_plates(outputs, view, min(LEAST_SCORE, threshold)),
        )
