"""A training, whatever is trained: steps, averaged weights, scores, checkpoints; it can be stopped at any time.

All that decides the weights follows from the number of the step: the batch, the learning rate, when a score is taken.
The clock decides only when a checkpoint is written. So a training that was stopped, or killed, and resumed ends with
the weights of one that was not: to the bit on one CPU with the same number of threads.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import torch
from torch import Tensor, nn

from shardline.training.ahead import drawn_ahead
from shardline.training.average import Average
from shardline.training.checkpoint import BEST, LAST, Checkpoint, load, random_states, save, set_random_states
from shardline.training.hardware import mixed
from shardline.training.muon import Muon
from shardline.training.stop import Stop
from shardline.wire.errors import ModelError

_TOLD_EVERY = 10  # steps; to read a loss makes a GPU wait
_LEAST_RATE = 0.01  # of the highest, at the end

Batch = TypeVar("Batch")


class Course(Protocol[Batch]):
    """What is trained, on what."""

    @property
    def steps(self) -> int:
        """How many batches there are in all."""
        ...

    @property
    def draw(self) -> Callable[[int], Batch]:
        """A step's number -> its batch, a function of the number alone; picklable, since other processes call it."""
        ...

    def pictures(self, step: int) -> int:
        """How many pictures the batches before `step` hold."""
        ...

    def model(self) -> nn.Module:
        """The model with its first weights, always the same ones."""
        ...

    def matrices(self, model: nn.Module) -> Sequence[nn.Parameter]:
        """The weights between features, which Muon trains; AdamW trains the others. There may be none."""
        ...

    def losses(self, model: nn.Module, batch: Batch, device: torch.device) -> dict[str, Tensor]:
        """The parts of the loss; their sum is made small."""
        ...

    def scores(self, model: nn.Module, device: torch.device) -> dict[str, float]:
        """How good the averaged model is, by name; `score` is the one that counts, and more is better."""
        ...


class Watch(Protocol):
    """Whoever wants to know how it goes."""

    def stepped(self, step: int, pictures: int, losses: Mapping[str, float], rate: float) -> None: ...

    def scored(self, step: int, pictures: int, scores: Mapping[str, float]) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How it is trained."""

    rate: float = 4e-3  # highest learning rate of AdamW
    muon: float = 25.0  # the rate of Muon, over AdamW's
    decay: float = 0.02  # of weights, as AdamW does it
    warm_up: int = 100  # steps
    clip: float = 5.0  # length of the gradient, at most
    averaging: float = 0.04  # the share of the steps that the averaged weights reach back over
    score_every: int = 1000  # steps
    patience: int = 0  # scores in a row that are not the best yet, after which it stops; 0: never


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Where and with what; none of it changes the weights, on a CPU with the same number of threads."""

    folder: Path
    device: torch.device
    recipe: Mapping[str, Any] = field(default_factory=dict)  # of plain values, kept in the checkpoints
    workers: int = 1
    save_every_s: float = 300.0
    watches: Sequence[Watch] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    model: nn.Module  # with the averaged weights; where patience ended it, with the best ones
    step: int
    seconds: float
    losses: dict[str, float]
    scores: dict[str, float]


def fit(course: Course[Batch], settings: Settings, run: Run, *, resume: bool) -> Outcome:
    """Train to the end; `resume` goes on from the folder's last checkpoint.

    Raises:
        ModelError: nothing to resume, a folder that holds a training already, or a loss that is no number.
        Stopped: Ctrl-C or SIGTERM came; the checkpoint is written.
    """
    with Stop() as stop:
        fitting = _Fitting(course, settings, run, resume=resume)
        fitting.train(stop)
    return fitting.outcome()


def rate_at(settings: Settings, step: int, steps: int) -> float:
    """AdamW's learning rate of a step: a straight rise, then half a cosine."""
    if step < settings.warm_up:
        return settings.rate * (step + 1) / settings.warm_up
    done = (step - settings.warm_up) / max(1, steps - settings.warm_up)
    return settings.rate * (_LEAST_RATE + (1 - _LEAST_RATE) * (1 + math.cos(math.pi * done)) / 2)


class _Fitting(Generic[Batch]):
    """The state of a training between two steps."""

    def __init__(self, course: Course[Batch], settings: Settings, run: Run, *, resume: bool) -> None:
        self._course, self._settings, self._run = course, settings, run
        layout = torch.channels_last
        self._model = course.model().to(run.device, memory_format=layout).train()  # type: ignore[call-overload]
        self._average = Average(self._model, 1 - 1 / max(1.0, settings.averaging * course.steps))
        self._optimisers = _optimisers(self._model, course.matrices(self._model), settings)
        self._step, self._best, self._since = 0, -math.inf, 0
        self._losses: dict[str, float] = {}
        self._scores: dict[str, float] = {}
        self._earlier_s, self._began = 0.0, time.monotonic()
        last = run.folder / LAST
        if resume:
            self._restore(load(last))
        elif last.exists():
            raise ModelError(
                f"{run.folder} holds a training already: go on with it by --resume, or name another folder"
            )
        else:
            run.folder.mkdir(parents=True, exist_ok=True)
            save(last, self._checkpoint())

    def train(self, stop: Stop) -> None:
        saved = time.monotonic()
        with drawn_ahead(self._course.draw, self._step, self._course.steps, self._run.workers) as batches:
            for batch in self._until_it_is_no_use(batches):
                self._advance(batch)
                if stop.asked or time.monotonic() - saved >= self._run.save_every_s:
                    save(self._run.folder / LAST, self._checkpoint())
                    saved = time.monotonic()
                stop.check()
        save(self._run.folder / LAST, self._checkpoint())

    def outcome(self) -> Outcome:
        if self._gave_up:
            self._average.module.load_state_dict(load(self._run.folder / BEST).average)
        return Outcome(
            model=self._average.module,
            step=self._step,
            seconds=self._seconds,
            losses=self._losses,
            scores=self._scores or self._course.scores(self._average.module, self._run.device),
        )

    @property
    def _seconds(self) -> float:
        return self._earlier_s + time.monotonic() - self._began

    @property
    def _gave_up(self) -> bool:
        return 0 < self._settings.patience <= self._since

    def _until_it_is_no_use(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        while not self._gave_up:
            try:
                batch = next(batches)
            except StopIteration:
                return
            yield batch

    def _advance(self, batch: Batch) -> None:
        rate = rate_at(self._settings, self._step, self._course.steps)
        for optimiser in self._optimisers:
            for group in optimiser.param_groups:
                group["lr"] = rate * group["share"]
        with mixed(self._run.device):
            losses = self._course.losses(self._model, batch, self._run.device)
        self._model.zero_grad()
        torch.autograd.backward(torch.stack(list(losses.values())).sum())
        length = nn.utils.clip_grad_norm_(self._model.parameters(), self._settings.clip)
        for optimiser in self._optimisers:
            optimiser.step()
        self._step += 1
        self._average.update(self._model, self._step)
        if self._step % _TOLD_EVERY == 0 or self._step == self._course.steps:
            self._tell(losses, float(length), rate)
        if self._step % self._settings.score_every == 0 or self._step == self._course.steps:
            self._score()

    def _tell(self, losses: Mapping[str, Tensor], length: float, rate: float) -> None:
        self._losses = {name: float(value.detach()) for name, value in losses.items()}
        if not math.isfinite(length):
            raise ModelError(
                f"step {self._step}: the loss or its gradient is no number ({self._losses}); resume from the last "
                "checkpoint, or train anew with a lower --rate"
            )
        for watch in self._run.watches:
            watch.stepped(self._step, self._course.pictures(self._step), self._losses, rate)

    def _score(self) -> None:
        self._scores = self._course.scores(self._average.module, self._run.device)
        better = self._scores["score"] > self._best
        self._best, self._since = (self._scores["score"], 0) if better else (self._best, self._since + 1)
        if better:
            save(self._run.folder / BEST, self._checkpoint())
        for watch in self._run.watches:
            watch.scored(self._step, self._course.pictures(self._step), self._scores)

    def _checkpoint(self) -> Checkpoint:
        return Checkpoint(
            step=self._step,
            model=self._model.state_dict(),
            average=self._average.module.state_dict(),
            optimisers=[each.state_dict() for each in self._optimisers],
            random=random_states(),
            best=self._best,
            since=self._since,
            seconds=self._seconds,
            recipe=dict(self._run.recipe),
        )

    def _restore(self, checkpoint: Checkpoint) -> None:
        try:
            self._model.load_state_dict(checkpoint.model)
            self._average.module.load_state_dict(checkpoint.average)
            for optimiser, state in zip(self._optimisers, checkpoint.optimisers, strict=True):
                optimiser.load_state_dict(state)
        except (RuntimeError, ValueError, KeyError) as exc:
            raise ModelError(f"{self._run.folder / LAST} is of another model: train anew, in another folder") from exc
        set_random_states(checkpoint.random)
        self._step, self._best, self._since = checkpoint.step, checkpoint.best, checkpoint.since
        self._earlier_s = checkpoint.seconds


def _optimisers(model: nn.Module, matrices: Sequence[nn.Parameter], settings: Settings) -> list[torch.optim.Optimizer]:
    """Biases and normalisation's factors do not decay: they have no size that is too much.

    `share` of a group is its rate over the schedule's.
    """
    taken = {id(each) for each in matrices}
    rest = [each for each in model.parameters() if id(each) not in taken]
    groups = [
        {"params": [each for each in rest if each.dim() > 1], "weight_decay": settings.decay, "share": 1.0},
        {"params": [each for each in rest if each.dim() <= 1], "weight_decay": 0.0, "share": 1.0},
    ]
    optimisers: list[torch.optim.Optimizer] = [torch.optim.AdamW(groups, lr=settings.rate, foreach=True)]
    if matrices:
        group = {"params": list(matrices), "share": settings.muon}
        optimisers.append(Muon([group], lr=settings.rate * settings.muon, weight_decay=settings.decay))
    return optimisers
