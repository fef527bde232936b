"""Rounds in which systems alternate; one that fails leaves the others alone."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from benchmarks.load import Load, LoadResult
from benchmarks.processes import ProcessMemory, UnavailableError, WrongReplyError
from benchmarks.rounds import Measurements, measure_rounds, rotated, start_all
from benchmarks.systems.base import LoadSample, System, sample_of

LOADS = [Load(clients=1, seconds=1.0)]
RESULT = LoadResult(latencies_ms=(10.0, 30.0), seconds=2.0, errors=0, wrong=0, faults=(), client_cpu_s=0.001)


@dataclass(slots=True)
class Scripted:
    """Gives the same result at once, fails as scripted, and records the calls."""

    key: str
    done: list[str]
    fails_at_start: bool = False
    fails: dict[int, Exception] = field(default_factory=dict)  # by round

    def start(self, folder: Path) -> None:  # noqa: ARG002  # as in the Protocol
        self._note("start")
        if self.fails_at_start:
            raise UnavailableError("no Java here")

    def resume(self) -> None:
        self._note("resume")

    def pause(self) -> None:
        self._note("pause")

    def stop(self) -> None:
        self._note("stop")

    def memory(self) -> list[ProcessMemory]:
        return []

    def measure(self, loads: Sequence[Load], round_: int, warm_s: float) -> list[LoadSample]:  # noqa: ARG002
        if round_ in self.fails:
            raise self.fails[round_]
        return [sample_of(self.key, round_, load, RESULT, 0.02, []) for load in loads]

    def _note(self, what: str) -> None:
        self.done.append(f"{self.key} {what}")


def measured(systems: Sequence[System], folder: Path, rounds: int = 2) -> Measurements:
    found = Measurements()
    ready = start_all(systems, folder, found, lambda _: None)
    measure_rounds(ready, LOADS, rounds, found, lambda _: None, warm_s=0.0)
    return found


def test_only_one_system_runs_at_a_time(tmp_path: Path) -> None:
    done: list[str] = []

    measured([Scripted("a", done), Scripted("b", done)], tmp_path)

    assert done[:4] == ["a start", "a pause", "b start", "b pause"]
    assert done[4:8] == ["a resume", "a pause", "b resume", "b pause"]
    assert done[8:] == ["b resume", "b pause", "a resume", "a pause"]


def test_a_system_that_cannot_start_is_named(tmp_path: Path) -> None:
    found = measured([Scripted("a", [], fails_at_start=True), Scripted("b", [])], tmp_path)

    assert found.left_out == {"a": "no Java here"}
    assert {sample.system for sample in found.samples} == {"b"}


@pytest.mark.parametrize("error", [UnavailableError("gone"), WrongReplyError("class 3"), OSError("reset")])
def test_a_system_that_fails_later_loses_all_its_samples(tmp_path: Path, error: Exception) -> None:
    done: list[str] = []
    found = measured([Scripted("a", done, fails={1: error}), Scripted("b", [])], tmp_path, rounds=3)

    assert [(sample.system, sample.round) for sample in found.samples] == [("b", 0), ("b", 1), ("b", 2)]
    assert found.left_out == {"a": str(error)}
    assert done[-1] == "a stop"


def test_each_round_begins_with_another_system() -> None:
    assert [rotated("abc", by) for by in range(4)] == [list("abc"), list("bca"), list("cab"), list("abc")]
    assert rotated([], 1) == []


def test_a_sample_counts_a_request() -> None:
    sample = sample_of("a", 0, LOADS[0], RESULT, cpu_s=0.02, memory=[])

    assert (sample.rps, sample.p50_ms, sample.max_ms, sample.cpu_ms) == (1.0, 20.0, 30.0, 10.0)
