"""The training loop: steps, averaged weights, evaluations, checkpoints; it can be stopped and resumed at any time.

All that decides the weights follows from the number of the step: the batch, the learning rate, when an evaluation takes
place. The clock decides only when a checkpoint is written. So a training that was stopped or killed, and resumed, ends
with the weights of one that was not: bit for bit on one CPU with the same number of threads.
"""

import math
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, Generic, Protocol, Self, TypeVar

import torch
from torch import Tensor, nn

from shardline.training.checkpoint import (
    BEST,
    LAST,
    Checkpoint,
    load_checkpoint,
    random_states,
    save_checkpoint,
    set_random_states,
)
from shardline.training.optim import EMA, TrainingSettings, learning_rate, make_optimisers
from shardline.training.prefetch import prefetch
from shardline.wire.errors import TrainingError, UsageError

_REPORT_EVERY = 10  # steps; to read a loss makes a GPU wait
_SIGNALS = (signal.SIGINT, signal.SIGTERM)

Batch = TypeVar("Batch")


class TrainingTask(Protocol[Batch]):
    """A training task: the model that is trained, its data, its losses and its validation scores."""

    @property
    def steps(self) -> int:
        """The number of batches in all."""
        ...

    @property
    def draw(self) -> Callable[[int], Batch]:
        """Draw the batch of a step from the step's number alone; picklable, since other processes call it."""
        ...

    def pictures(self, step: int) -> int:
        """The number of pictures in the batches before `step`."""
        ...

    def model(self) -> nn.Module:
        """The model with its initial weights, always the same ones."""
        ...

    def matrices(self, model: nn.Module) -> Sequence[nn.Parameter]:
        """The weights [rows, ...] that Muon trains, possibly none; AdamW trains the others."""
        ...

    def losses(self, model: nn.Module, batch: Batch, device: torch.device) -> dict[str, Tensor]:
        """The terms of the loss by name, each a scalar; their sum is minimised."""
        ...

    def scores(self, model: nn.Module, device: torch.device) -> dict[str, float]:
        """The validation scores of the averaged model by name; the weights with the highest `score` are the best."""
        ...


class TrainingCallback(Protocol):
    """An observer of a training's progress."""

    def started(self, pictures: int) -> None:
        """The training begins or resumes; it has so many pictures in all."""
        ...

    def stepped(self, step: int, pictures: int, losses: Mapping[str, float], rate: float) -> None:
        """A step is done: the number of pictures so far, the terms of the loss and the learning rate."""
        ...

    def scored(self, step: int, pictures: int, scores: Mapping[str, float]) -> None:
        """An evaluation is done."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRun:
    """Folder, device and processes of a training. Nothing here changes the weights, on a CPU with as many threads."""

    folder: Path
    device: torch.device
    recipe: Mapping[str, Any] = field(default_factory=dict)  # plain values, kept in the checkpoints
    workers: int = 1
    save_every_s: float = 300.0
    callbacks: Sequence[TrainingCallback] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingResult:
    """A finished training."""

    model: nn.Module  # with the averaged weights; after early stopping with the best ones
    step: int
    seconds: float
    scores: dict[str, float]


class TrainingStopped(Exception):  # noqa: N818  # control flow: nothing went wrong
    """A training was stopped by signal `number` and can be resumed."""

    def __init__(self, number: int) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name}")
        self.number = number


def fit(task: TrainingTask[Batch], settings: TrainingSettings, run: TrainingRun, *, resume: bool) -> TrainingResult:
    """Train to the end; with `resume`, from the folder's last checkpoint.

    Raises:
        UsageError: there is nothing to resume, or the folder holds a training already.
        TrainingError: the loss is not a finite number, or the checkpoint cannot be used or written.
        TrainingStopped: Ctrl-C or SIGTERM came; the checkpoint is written.
    """
    with StopSignals() as stop:
        loop = _TrainingLoop(task, settings, run, resume=resume)
        loop.train(stop)
    return loop.result()


def is_mixed(device: torch.device) -> bool:
    """Tell whether bf16 is faster than fp32 on a device: on a GPU, and on a CPU with instructions for it."""
    if device.type == "cuda":
        return True
    able = torch.cpu.get_capabilities()
    return bool(able.get("amx_bf16") or able.get("avx512_bf16"))


class StopSignals:
    """Context in the main thread in which Ctrl-C and SIGTERM are noted, so that a checkpoint can be written first.

    A second signal takes effect at once.
    """

    def __init__(self) -> None:
        self._number: int | None = None
        self._handlers = {number: signal.getsignal(number) for number in _SIGNALS}

    @property
    def received(self) -> bool:
        return self._number is not None

    def check(self) -> None:
        """Raise TrainingStopped where a signal came."""
        if self._number is not None:
            raise TrainingStopped(self._number)

    def __enter__(self) -> Self:
        for number in _SIGNALS:
            signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        self._restore_handlers()

    def _note(self, number: int, _: FrameType | None) -> None:
        self._number = number
        self._restore_handlers()

    def _restore_handlers(self) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)


class _TrainingLoop(Generic[Batch]):
    """The state of a training between two steps."""

    def __init__(
        self, task: TrainingTask[Batch], settings: TrainingSettings, run: TrainingRun, *, resume: bool
    ) -> None:
        self._task, self._settings, self._run = task, settings, run
        layout = torch.channels_last
        self._model = task.model().to(run.device, memory_format=layout).train()  # type: ignore[call-overload]
        self._ema = EMA(self._model, 1 - 1 / max(1.0, settings.averaging * task.steps))
        self._optimisers = make_optimisers(self._model, task.matrices(self._model), settings)
        self._step, self._best, self._since = 0, -math.inf, 0
        self._scores: dict[str, float] = {}
        self._earlier_s, self._started_at_s = 0.0, time.monotonic()
        last = run.folder / LAST
        if resume:
            self._restore(load_checkpoint(last))
        elif last.exists():
            raise UsageError(
                f"{run.folder} holds a training already: continue it with --resume, or name another folder"
            )
        else:
            run.folder.mkdir(parents=True, exist_ok=True)
            save_checkpoint(last, self._checkpoint())

    def train(self, stop: StopSignals) -> None:
        for callback in self._run.callbacks:
            callback.started(self._task.pictures(self._task.steps))
        saved_at_s = time.monotonic()
        with prefetch(self._task.draw, self._step, self._task.steps, self._run.workers) as batches:
            for batch in self._until_patience_ends(batches):
                self._advance(batch)
                if stop.received or time.monotonic() - saved_at_s >= self._run.save_every_s:
                    save_checkpoint(self._run.folder / LAST, self._checkpoint())
                    saved_at_s = time.monotonic()
                stop.check()
        save_checkpoint(self._run.folder / LAST, self._checkpoint())

    def result(self) -> TrainingResult:
        if self._out_of_patience:
            self._ema.module.load_state_dict(load_checkpoint(self._run.folder / BEST).average)
        return TrainingResult(
            model=self._ema.module,
            step=self._step,
            seconds=self._seconds,
            scores=self._scores or self._task.scores(self._ema.module, self._run.device),
        )

    @property
    def _seconds(self) -> float:
        return self._earlier_s + time.monotonic() - self._started_at_s

    @property
    def _out_of_patience(self) -> bool:
        return 0 < self._settings.patience <= self._since

    def _until_patience_ends(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """Yield batches until there are no more, or early stopping ends the training; then draw none in vain."""
        while not self._out_of_patience:
            try:
                batch = next(batches)
            except StopIteration:
                return
            yield batch

    def _advance(self, batch: Batch) -> None:
        rate = learning_rate(self._settings, self._step, self._task.steps)
        for optimiser in self._optimisers:
            for group in optimiser.param_groups:
                group["lr"] = rate * group["share"]
        device = self._run.device
        with torch.autocast(device.type, torch.bfloat16, enabled=is_mixed(device)):
            losses = self._task.losses(self._model, batch, device)
        self._model.zero_grad()
        torch.autograd.backward(torch.stack(list(losses.values())).sum())
        norm = nn.utils.clip_grad_norm_(self._model.parameters(), self._settings.clip)
        for optimiser in self._optimisers:
            optimiser.step()
        self._step += 1
        self._ema.update(self._model, self._step)
        if self._step % _REPORT_EVERY == 0 or self._step == self._task.steps:
            self._report(losses, float(norm), rate)
        if self._step % self._settings.score_every == 0 or self._step == self._task.steps:
            self._evaluate()

    def _report(self, losses: Mapping[str, Tensor], norm: float, rate: float) -> None:
        terms = {name: float(value.detach()) for name, value in losses.items()}
        if not math.isfinite(norm):
            raise TrainingError(
                f"step {self._step}: the loss or its gradient is not a finite number ({terms}); resume from the "
                "last checkpoint, or train again with a lower --rate"
            )
        for callback in self._run.callbacks:
            callback.stepped(self._step, self._task.pictures(self._step), terms, rate)

    def _evaluate(self) -> None:
        self._scores = self._task.scores(self._ema.module, self._run.device)
        better = self._scores["score"] > self._best
        self._best, self._since = (self._scores["score"], 0) if better else (self._best, self._since + 1)
        if better:
            save_checkpoint(self._run.folder / BEST, self._checkpoint())
        for callback in self._run.callbacks:
            callback.scored(self._step, self._task.pictures(self._step), self._scores)

    def _checkpoint(self) -> Checkpoint:
        return Checkpoint(
            step=self._step,
            model=self._model.state_dict(),
            average=self._ema.module.state_dict(),
            optimisers=[optimiser.state_dict() for optimiser in self._optimisers],
            random=random_states(),
            best=self._best,
            since=self._since,
            seconds=self._seconds,
            recipe=dict(self._run.recipe),
        )

    def _restore(self, checkpoint: Checkpoint) -> None:
        try:
            self._model.load_state_dict(checkpoint.model)
            self._ema.module.load_state_dict(checkpoint.average)
            for optimiser, state in zip(self._optimisers, checkpoint.optimisers, strict=True):
                optimiser.load_state_dict(state)
        except (RuntimeError, ValueError, KeyError) as exc:
            raise TrainingError(
                f"{self._run.folder / LAST} is of another model: train again, in another folder"
            ) from exc
        set_random_states(checkpoint.random)
        self._step, self._best, self._since = checkpoint.step, checkpoint.best, checkpoint.since
        self._earlier_s = checkpoint.seconds
