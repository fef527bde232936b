"""Run of an evaluation: what is compared, and the loop in which every source predicts each picture.

There is one pass over the pictures, and none is kept.
"""

import heapq
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from shardline.wire.errors import PictureError

Advance = Callable[[], None]  # called after each picture
Bar = Callable[[int], AbstractContextManager[Advance]]  # opens a progress bar for this number of pictures


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationRun:
    """Settings that all evaluations have in common.

    Attributes:
        model: the model to evaluate; None with `url`, or for the one that ships.
        url: of a served chain to evaluate.
        against: bundles whose chains are compared with it.
        program: selects the shards of a bundle: "portable", "compiled" or "auto".
        threads: of torch; None: the CPUs of this process.
        out: folder for the report; None: none is written.
        command: the command as it was typed, for the report.
        progress: called with a line that names what is loaded next.
        bar: counts pictures.
    """

    model: Path | None
    url: str | None
    against: Sequence[Path] = ()
    program: str = "portable"
    threads: int | None = None
    out: Path | None = None
    command: str = ""
    progress: Callable[[str], None]
    bar: Bar


class NamedPicture(Protocol):
    """The bytes of a picture file, and a name by which a user finds it again."""

    @property
    def name(self) -> str: ...

    @property
    def picture(self) -> bytes: ...


PictureT = TypeVar("PictureT", bound=NamedPicture)
PredictionT = TypeVar("PredictionT")
T = TypeVar("T")


def predict_all(
    pictures: Iterable[PictureT], predictors: Sequence[Callable[[bytes], PredictionT]], advance: Advance
) -> Iterator[tuple[PictureT, list[PredictionT]]]:
    """Yield each picture with the prediction of every predictor, in their order.

    Raises:
        ShardlineError: a picture cannot be read, or a source does not answer; a PictureError names the picture.
    """
    for picture in pictures:
        try:
            predictions = [predict(picture.picture) for predict in predictors]
        except PictureError as exc:
            raise PictureError(f"{picture.name}: {exc}") from exc
        yield picture, predictions
        advance()


@dataclass(slots=True, kw_only=True)
class WorstCases(Generic[T]):
    """Keeps the `most` worst of all cases that are added; of equally bad ones the first."""

    most: int
    _heap: list[tuple[float, int, T]] = field(default_factory=list)
    _count: int = 0

    def add(self, badness: float, make: Callable[[], T]) -> None:
        """Add a case; `make` is called only if the case is among the worst so far."""
        if len(self._heap) >= self.most and (not self._heap or badness <= self._heap[0][0]):
            return
        self._count += 1
        put = heapq.heappush if len(self._heap) < self.most else heapq.heapreplace
        put(self._heap, (badness, -self._count, make()))

    def worst_first(self) -> list[T]:
        return [case for _, _, case in sorted(self._heap, key=lambda entry: (-entry[0], -entry[1]))]
