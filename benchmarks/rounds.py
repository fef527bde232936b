"""Rounds of measurements: in each round all systems alternate, so that a slow minute affects all of them.

Each round begins with another system. A system that fails or gives a wrong reply is left out with its message; the
others continue.
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
    """Samples of all rounds. `left_out` has the reason by system."""

    samples: list[LoadSample] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    memory: dict[str, list[ProcessMemory]] = field(default_factory=dict)


def start_all(
    systems: Sequence[System], folder: Path, measured: Measurements, say: Callable[[str], None]
) -> list[System]:
    """Start the systems one after another and pause each; return those that are ready."""
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
    """Measure all systems in each round and add the samples to `measured`."""
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
    """The items in their order, beginning with item number `by`."""
    start = by % len(items) if items else 0
    return [*items[start:], *items[:start]]


def _leave_out(system: System, exc: Exception, measured: Measurements, say: Callable[[str], None]) -> None:
    """Stop a system and drop its earlier samples, since medians over different rounds cannot be compared."""
    say(f"{system.key} is left out: {exc}")
    measured.left_out[system.key] = str(exc)
    measured.samples = [sample for sample in measured.samples if sample.system != system.key]
    with suppress(*_FAULTS):
        system.stop()
