"""Dynamic batching: requests queue in order of arrival and are taken in batches of at most `max_batch` instances.

A batch takes requests from the front for as long as they fit, and no request overtakes another: one that does not fit
ends the batch and begins the next one. So small requests never pass a large one for ever. A request that is larger than
any batch is computed in slices as large as a batch, and after each slice it goes to the end of the queue again: it
delays small ones by one batch at a time, and is sliced as if it had come alone.

This module knows no thread, no clock and no tensor: times are passed in, and the worker carries its decisions out.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(slots=True, kw_only=True, eq=False)
class QueuedRequest(Generic[Item, Result]):
    """A request that waits for its results.

    Attributes:
        size: number of instances, which a batch limits.
        deadline_ms: Unix time in milliseconds after which nothing more of it is started.
        arrived_s: time of arrival, on the clock that `Batcher.wait_s` gets its time from.
        results: results of its slices, in order; one if it was not sliced.
        error: the exception of a slice, if one failed.
        taken: number of instances that batches have taken.
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
        """Number of instances that no batch has taken yet."""
        return self.size - self.taken


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestSlice(Generic[Item, Result]):
    """The instances `start` to `stop` of a request, in one batch."""

    request: QueuedRequest[Item, Result]
    start: int
    stop: int

    @property
    def item(self) -> Item:
        return self.request.item


class Batcher(Generic[Item, Result]):
    """Queue of requests, from which batches of at most `max_batch` instances are taken.

    A batch is due when it is full, or when the first request has waited `max_delay_s`.
    """

    def __init__(self, max_batch: int = 1, max_delay_s: float = 0.0) -> None:
        self._max_batch = max_batch
        self._max_delay_s = max_delay_s
        self._queue: deque[QueuedRequest[Item, Result]] = deque()

    def __len__(self) -> int:
        return len(self._queue)

    def add(self, request: QueuedRequest[Item, Result]) -> None:
        """Append a request to the queue."""
        self._queue.append(request)

    def discard(self, request: QueuedRequest[Item, Result]) -> None:
        """Remove a request whose client has gone or has its results: no more of it is taken."""
        request.taken = request.size
        if request in self._queue:
            self._queue.remove(request)

    def remove_late(self, now_ms: int) -> list[QueuedRequest[Item, Result]]:
        """Remove and return the requests whose deadline has passed."""
        late = [request for request in self._queue if request.deadline_ms is not None and request.deadline_ms < now_ms]
        for request in late:
            self.discard(request)
        return late

    def wait_s(self, now_s: float) -> float:
        """Seconds until a batch is due, 0 if one is. The queue must not be empty."""
        if sum(request.left for request in self._queue) >= self._max_batch:
            return 0.0
        return max(0.0, self._queue[0].arrived_s + self._max_delay_s - now_s)

    def take(self) -> list[RequestSlice[Item, Result]]:
        """Take the next batch, in the order of the queue."""
        batch: list[RequestSlice[Item, Result]] = []
        room = self._max_batch
        while self._queue and (size := min(self._queue[0].left, self._max_batch)) <= room:
            request = self._queue.popleft()
            batch.append(RequestSlice(request=request, start=request.taken, stop=request.taken + size))
            request.taken += size
            room -= size
        return batch

    def complete(
        self, batch: Sequence[RequestSlice[Item, Result]], results: Sequence[Result | Exception]
    ) -> list[QueuedRequest[Item, Result]]:
        """Store each slice's result in its request, and return the requests that are complete or failed.

        Requests with instances left go to the end of the queue.
        """
        completed = []
        for part, result in zip(batch, results, strict=True):
            request = part.request
            if isinstance(result, Exception):
                request.error = result
            else:
                request.results.append(result)
            if request.left and request.error is None:
                self._queue.append(request)
            else:
                completed.append(request)
        return completed


def compute_results(
    compute: Callable[[Sequence[RequestSlice[Item, Result]]], Sequence[Result]],
    batch: Sequence[RequestSlice[Item, Result]],
) -> Sequence[Result | Exception]:
    """Compute a batch: a result for each slice. If that raises, compute each alone, so that only the cause fails."""
    try:
        return compute(batch)
    except Exception as exc:  # reported to the request's owner, whatever it is
        return [exc] if len(batch) == 1 else [result for part in batch for result in compute_results(compute, [part])]
