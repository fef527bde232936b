"""Clients that ask one URL over and over, each with connections of its own, and remember every answer."""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import requests


@dataclass(frozen=True, slots=True)
class Outcome:
    """One request: `status` 0 means that there was no answer, and `text` says why."""

    picture: int
    status: int
    text: str
    seconds: float


@dataclass(slots=True)
class Load:
    """What the clients have been answered so far."""

    outcomes: list[Outcome] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)

    def failed(self) -> list[Outcome]:
        return [outcome for outcome in self.outcomes if outcome.status != 200]

    def answered(self) -> list[Outcome]:
        return [outcome for outcome in self.outcomes if outcome.status == 200]


@contextmanager
def load(url: str, pictures: Sequence[bytes], clients: int) -> Iterator[Load]:
    """Ask for the pictures in turn until the end of the block, a new connection each time, as curl does."""
    running = Load()

    def client(number: int) -> None:
        index = number
        while not running.stop.is_set():
            running.outcomes.append(_ask(url, pictures, index % len(pictures)))
            index += 1

    threads = [threading.Thread(target=client, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield running
    finally:
        running.stop.set()
        for thread in threads:
            thread.join()


def _ask(url: str, pictures: Sequence[bytes], index: int) -> Outcome:
    start = time.monotonic()
    try:
        reply = requests.post(url, data=pictures[index], timeout=120)
        return Outcome(index, reply.status_code, reply.text, time.monotonic() - start)
    except requests.RequestException as exc:
        return Outcome(index, 0, str(exc), time.monotonic() - start)
