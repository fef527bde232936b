"""A training stopped or killed at any time and resumed ends where one ends that was left alone, to the bit."""

import math
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from services.processes import running, stop, wait_until
from services.small_training import STEPS, SmallTask
from torch import Tensor, nn

from shardline.training.checkpoint import BEST, LAST, load_checkpoint
from shardline.training.fit import TrainingRun, fit
from shardline.training.optim import TrainingSettings, learning_rate
from shardline.wire.errors import TrainingError, UsageError

CPU = torch.device("cpu")
SHORT = SmallTask(steps=12)
SETTINGS = TrainingSettings(warm_up=3, score_every=4)


@dataclass(frozen=True, slots=True)
class Seen:
    """A TrainingCallback that keeps what it is called with."""

    steps: list[int] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    scores: list[tuple[int, float]] = field(default_factory=list)
    totals: list[int] = field(default_factory=list)

    def started(self, pictures: int) -> None:
        self.totals.append(pictures)

    def stepped(self, step: int, pictures: int, losses: Mapping[str, float], rate: float) -> None:  # noqa: ARG002
        self.steps.append(step)
        self.rates.append(rate)

    def scored(self, step: int, pictures: int, scores: Mapping[str, float]) -> None:  # noqa: ARG002
        self.scores.append((step, scores["score"]))


def here(folder: Path, **more: Any) -> TrainingRun:
    return TrainingRun(folder=folder, device=CPU, workers=0, **more)


def command(folder: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "services.small_training", str(folder), *more]


def step_of(folder: Path) -> int:
    return load_checkpoint(folder / LAST).step if (folder / LAST).exists() else -1


@pytest.fixture(scope="module")
def env() -> dict[str, str]:

    return {**os.environ, "PYTHONPATH": "tests:.", "OMP_WAIT_POLICY": "PASSIVE"}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, env: dict[str, str]) -> dict[str, Tensor]:
    folder = tmp_path_factory.mktemp("undisturbed")
    with running(command(folder), folder / "log", env) as process:
        assert process.wait(120) == 0, (folder / "log").read_text()
    return weights(folder)


def weights(folder: Path) -> dict[str, Tensor]:
    found: dict[str, Tensor] = torch.load(folder / "weights.pt", weights_only=True)
    return found


def assert_same(left: Mapping[str, Tensor], right: Mapping[str, Tensor]) -> None:
    assert left.keys() == right.keys()
    assert [name for name in left if not torch.equal(left[name], right[name])] == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "number", [signal.SIGKILL, signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.heavy)]
)
def test_interrupted_and_resumed_is_undisturbed(
    number: signal.Signals, tmp_path: Path, env: dict[str, str], undisturbed: dict[str, Tensor]
) -> None:
    with running(command(tmp_path), tmp_path / "log", env) as process:
        wait_until(lambda: step_of(tmp_path) >= 20, "twenty steps")
        drawing = psutil.Process(process.pid).children(recursive=True)
        code = stop(process, number)
    wait_until(lambda: not any(item.is_running() for item in drawing), "the processes that draw end with it")
    with running(command(tmp_path, "--resume"), tmp_path / "log", env) as process:
        assert process.wait(120) == 0, (tmp_path / "log").read_text()

    assert code == (-number if number == signal.SIGKILL else 128 + number)
    assert drawing
    assert_same(weights(tmp_path), undisturbed)
    assert step_of(tmp_path) == STEPS


def test_the_clock_and_scores_change_nothing(tmp_path: Path) -> None:
    results = []
    for number, (every_s, score_every) in enumerate([(0.0, 2), (1e9, 100)]):
        torch.manual_seed(3)
        run = here(tmp_path / str(number), save_every_s=every_s)
        results.append(fit(SHORT, replace(SETTINGS, score_every=score_every), run, resume=False).model.state_dict())

    assert_same(*results)


def test_it_learns_and_tells_of_it(tmp_path: Path) -> None:
    seen = Seen()
    course = SmallTask(steps=60)

    outcome = fit(course, replace(SETTINGS, score_every=20), here(tmp_path, callbacks=[seen]), resume=False)

    assert outcome.scores["score"] > 0.9
    assert [step for step, _ in seen.scores] == [20, 40, 60]
    assert seen.steps[-1] == outcome.step == 60
    assert seen.rates[0] > seen.rates[-1]
    assert seen.totals == [course.pictures(60)]
    assert load_checkpoint(tmp_path / BEST).best == max(score for _, score in seen.scores)
    assert not list(tmp_path.glob(".*"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Worsening(SmallTask):
    """Its first score is its best."""

    def scores(self, model: nn.Module, device: torch.device) -> dict[str, float]:  # noqa: ARG002
        return {"score": -float(sum(buffer.abs().sum() for buffer in model.buffers()))}


def test_patience_ends_it_with_the_best_weights(tmp_path: Path) -> None:
    outcome = fit(Worsening(steps=40), replace(SETTINGS, patience=2), here(tmp_path), resume=False)

    assert outcome.step == 12
    assert load_checkpoint(tmp_path / BEST).step == 4
    assert_same(outcome.model.state_dict(), load_checkpoint(tmp_path / BEST).average)


def test_a_finished_training_resumed_is_what_it_was(tmp_path: Path) -> None:
    first = fit(SHORT, SETTINGS, here(tmp_path), resume=False)
    again = fit(SHORT, SETTINGS, here(tmp_path), resume=True)

    assert_same(first.model.state_dict(), again.model.state_dict())
    assert again.scores == first.scores


def test_the_rate_rises_and_falls() -> None:
    settings = TrainingSettings(rate=1.0, warm_up=10)
    rates = np.array([learning_rate(settings, step, 100) for step in range(100)])

    assert rates[9] == rates.max() == 1.0
    assert (np.diff(rates[:10]) > 0).all()
    assert (np.diff(rates[10:]) < 0).all()
    assert 0.01 <= rates[-1] < 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Broken(SmallTask):
    def losses(
        self,
        model: nn.Module,
        batch: tuple[Any, Any],
        device: torch.device,  # noqa: ARG002
    ) -> dict[str, Tensor]:
        return {"classes": model(torch.from_numpy(batch[0])).sum() * math.nan}


def test_a_loss_that_is_no_number_is_said(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"step 10: the loss or its gradient is not a finite number.*lower --rate"):
        fit(Broken(steps=40), SETTINGS, here(tmp_path), resume=False)


def test_what_cannot_be_resumed_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="leave --resume out"):
        fit(SHORT, SETTINGS, here(tmp_path), resume=True)
    fit(SmallTask(steps=1), SETTINGS, here(tmp_path), resume=False)
    with pytest.raises(UsageError, match="holds a training already: continue it with --resume"):
        fit(SHORT, SETTINGS, here(tmp_path), resume=False)
    (tmp_path / LAST).write_bytes(b"not a checkpoint")
    with pytest.raises(TrainingError, match="damaged, or no checkpoint"):
        fit(SHORT, SETTINGS, here(tmp_path), resume=True)
