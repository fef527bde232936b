"""All systems in turn, round by round: a machine that is slow for a minute is slow for all of them.

Each round begins with another system. A system that fails, or answers wrong, is taken out with what it said; the others
go on.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import psutil

from benchmarks.load import Load
from benchmarks.processes import ProcessMemory, UnavailableError, WrongReplyError
from benchmarks.systems.base import LoadSample, System
from shardline.wire.errors import ShardlineError

T = TypeVar("T")
_FAULTS = (UnavailableError, WrongReplyError, ShardlineError, OSError, psutil.Error)


@dataclass(slots=True, kw_only=True)
class Measurements:
    """`left_out` says why, by a system's key; `wrong` are those of them that answered wrong."""

    samples: list[LoadSample] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    memory: dict[str, list[ProcessMemory]] = field(default_factory=dict)


def start_all(
    systems: Sequence[System], folder: Path, measured: Measurements, say: Callable[[str], None]
) -> list[System]:
    """Start one after another, and pause each; -> those that are ready."""
    ready = []
    for system in systems:
        say(f"starting {system.key}")
        try:
            system.start(folder)
            system.pause()
            ready.append(system)
        except _FAULTS as exc:
            _leave_out(system, exc, measured, say)
    return ready


def measure_rounds(
    systems: Sequence[System],
    loads: Sequence[Load],
    rounds: int,
    measured: Measurements,
    say: Callable[[str], None],
    warm_s: float,
) -> None:
    running = list(systems)
    for round_ in range(rounds):
        for system in rotated(systems, round_):
            if system not in running:
                continue
            say(f"round {round_ + 1} of {rounds}: {system.key}")
            try:
                system.resume()
                measured.samples += system.measure(loads, round_, warm_s)
                measured.memory[system.key] = system.memory()
                system.pause()
            except _FAULTS as exc:
                running.remove(system)
                _leave_out(system, exc, measured, say)


def rotated(items: Sequence[T], by: int) -> list[T]:
    """The items in their order, beginning with another one each time."""
    start = by % len(items) if items else 0
    return [*items[start:], *items[:start]]


def _leave_out(system: System, exc: Exception, measured: Measurements, say: Callable[[str], None]) -> None:
    """Its samples of earlier rounds go, too: medians over different rounds compare different hours."""
    say(f"{system.key} is left out: {exc}")
    measured.left_out[system.key] = str(exc)
    measured.samples = [sample for sample in measured.samples if sample.system != system.key]
    if isinstance(exc, WrongReplyError):
        measured.wrong.append(system.key)
    with suppress(*_FAULTS):
        system.stop()
