"""Waiting requests -> one batch -> their owners.

Requests stand in line in the order in which they came. A batch takes them from the front for as long as they fit, and
nobody overtakes: a request that does not fit ends the batch and begins the next one. So a large one is never passed by
small ones for ever. One that is larger than any batch goes in shares as large as a batch, and after each stands at the
end of the line again: it holds small ones up by one batch at a time, and is parted as if it had come alone.

Nothing here knows a thread, a clock or a tensor: times are handed in, and the worker does what is decided here.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(slots=True, kw_only=True, eq=False)
class Request(Generic[Item, Result]):
    """Who waits for an answer, and what has come of it so far.

    Attributes:
        size: instances; a batch has a limit of them.
        deadline_ms: Unix time in milliseconds after which nothing more of it is started.
        arrived_s: on the clock that `Batcher.wait_s` is asked with.
        results: of its shares, in order; one if it was not parted.
        error: what a share of it raised, if one did.
    """

    item: Item
    size: int = 1
    deadline_ms: int | None = None
    arrived_s: float = 0.0
    results: list[Result] = field(default_factory=list)
    error: Exception | None = None
    taken: int = 0

    @property
    def left(self) -> int:
        """Instances that no batch has taken yet."""
        return self.size - self.taken


@dataclass(frozen=True, slots=True, kw_only=True)
class Share(Generic[Item, Result]):
    """The instances `start` to `stop` of a request, in one batch."""

    request: Request[Item, Result]
    start: int
    stop: int

    @property
    def item(self) -> Item:
        return self.request.item


class Batcher(Generic[Item, Result]):
    """The line, and what is taken from it: at most `max_batch` instances at a time.

    A batch is due when it is full, or the first in line has waited `max_delay_s`.
    """

    def __init__(self, max_batch: int = 1, max_delay_s: float = 0.0) -> None:
        self._max_batch = max_batch
        self._max_delay_s = max_delay_s
        self._line: deque[Request[Item, Result]] = deque()

    def __len__(self) -> int:
        return len(self._line)

    def add(self, request: Request[Item, Result]) -> None:
        self._line.append(request)

    def discard(self, request: Request[Item, Result]) -> None:
        """Its owner has gone, or has an answer: what is left of it is not taken."""
        request.taken = request.size
        if request in self._line:
            self._line.remove(request)

    def late(self, now_ms: int) -> list[Request[Item, Result]]:
        """Those whose deadline has passed; they wait no longer."""
        late = [each for each in self._line if each.deadline_ms is not None and each.deadline_ms < now_ms]
        for request in late:
            self.discard(request)
        return late

    def wait_s(self, now_s: float) -> float:
        """Seconds until a batch is due, 0 if one is. To be asked while somebody waits."""
        if sum(request.left for request in self._line) >= self._max_batch:
            return 0.0
        return max(0.0, self._line[0].arrived_s + self._max_delay_s - now_s)

    def take(self) -> list[Share[Item, Result]]:
        """The next batch, in the order of the line."""
        batch: list[Share[Item, Result]] = []
        room = self._max_batch
        while self._line and (size := min(self._line[0].left, self._max_batch)) <= room:
            request = self._line.popleft()
            batch.append(Share(request=request, start=request.taken, stop=request.taken + size))
            request.taken += size
            room -= size
        return batch

    def settle(
        self, batch: Sequence[Share[Item, Result]], outcomes: Sequence[Result | Exception]
    ) -> list[Request[Item, Result]]:
        """Give each share's outcome to its owner, and back those that are answered now.

        The others, with instances left, stand in line again.
        """
        answered = []
        for share, outcome in zip(batch, outcomes, strict=True):
            request = share.request
            if isinstance(outcome, Exception):
                request.error = outcome
            else:
                request.results.append(outcome)
            if request.left and request.error is None:
                self._line.append(request)
            else:
                answered.append(request)
        return answered


def outcomes(
    compute: Callable[[Sequence[Share[Item, Result]]], Sequence[Result]], batch: Sequence[Share[Item, Result]]
) -> Sequence[Result | Exception]:
    """What `compute` gives for each share of a batch. If it raises, each is tried alone: only the guilty one fails."""
    try:
        return compute(batch)
    except Exception as exc:  # the owner's to answer, whatever it is
        return [exc] if len(batch) == 1 else [result for share in batch for result in outcomes(compute, [share])]
