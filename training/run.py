"""Running a training task: device, worker processes, TensorBoard curves, and the record of the training."""

import fcntl
import os
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from shardline.partition.device import available_cpus, use_threads
from shardline.training.checkpoint import LAST, load_checkpoint
from shardline.training.fit import TrainingCallback, TrainingResult, TrainingRun, TrainingTask, fit, is_mixed
from shardline.training.optim import TrainingSettings
from shardline.wire.errors import FileError, MissingPackageError, UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingOptions:
    """Folder, device and processes of a training, and who hears of its progress.

    Nothing here decides the weights, on one CPU with the same number of threads.
    """

    folder: Path
    resume: bool = False
    device: str | None = None  # "cpu", "cuda", or None: a GPU if there is one
    threads: int | None = None
    workers: int | None = None
    save_every_min: float = 5
    tensorboard: bool = False
    callbacks: Sequence[TrainingCallback] = ()
    report: Callable[[str], None] = lambda _: None  # takes one line for the user


def resumed_recipe(folder: Path) -> dict[str, Any]:
    """The recipe that the training in `folder` began with.

    Raises:
        UsageError: there is no training.
        TrainingError: its checkpoint cannot be read.
    """
    return load_checkpoint(folder / LAST).recipe


def run_training(
    task: TrainingTask[Any], settings: TrainingSettings, recipe: Mapping[str, Any], options: TrainingOptions
) -> tuple[TrainingResult, torch.device]:
    """Train; return the result and the device that it was trained on.

    Raises:
        UsageError, MissingPackageError: an option that cannot be used here.
        TrainingStopped, TrainingError: as `fit`.
    """
    device = pick_device(options.device)
    use_threads(options.threads)
    curves = [TensorBoardCurves(options.folder / "curves")] if options.tensorboard else []
    workers = 1 if device.type == "cpu" else max(1, available_cpus() - 1)
    run = TrainingRun(
        folder=options.folder,
        device=device,
        recipe=recipe,
        workers=workers if options.workers is None else options.workers,
        save_every_s=60 * options.save_every_min,
        callbacks=[*options.callbacks, *curves],
    )
    try:
        with _alone_in(options.folder):
            return fit(task, settings, run, resume=options.resume), device
    finally:
        for curve in curves:
            curve.close()


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Lock a training's folder for this process.

    Raises:
        UsageError: another training runs in it.
        FileError: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as exc:
        raise FileError(f"{folder} cannot be written ({exc.strerror}): choose another folder") from exc
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as exc:
        raise UsageError(f"another training runs in {folder}: wait for its end, or choose another folder") from exc
    finally:
        os.close(opened)


def pick_device(name: str | None) -> torch.device:
    """The device of that name; without a name, a GPU if there is one, else the CPU.

    Raises:
        UsageError: torch has no such device here.
    """
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name == "cpu" or (name == "cuda" and torch.cuda.is_available()):
        return torch.device(name)
    raise UsageError(
        f"--device {name!r}: allowed are cpu and, where there is a GPU, cuda: {torch.cuda.device_count()} here"
    )


def training_record(
    name: str, recipe: Mapping[str, Any], result: TrainingResult, folder: Path, device: torch.device
) -> dict[str, Any]:
    """The record of `shardline train NAME`, which is written as JSON beside the weights."""
    return {
        "command": " ".join((f"shardline train {name} --out {shlex.quote(str(folder))}", *_as_options(recipe))),
        "recipe": dict(recipe),
        "steps": result.step,
        "seconds": round(result.seconds),
        "scores": result.scores,
        "device": str(device),
        "cpus": available_cpus(),
        "precision": "bf16 and fp32" if is_mixed(device) else "fp32",
        "versions": {package: version(package) for package in ("torch", "numpy", "pillow")},
    }


def as_option(name: str) -> str:
    """The option of a recipe's value: `held_out` -> `--held-out`."""
    return f"--{name.replace('_', '-')}"


class TensorBoardCurves:
    """Curves for TensorBoard, a TrainingCallback: `tensorboard --logdir FOLDER` shows them while training runs.

    A resumed training adds to the curves that are there.

    Raises:
        MissingPackageError: tensorboard is not installed.
    """

    def __init__(self, folder: Path) -> None:
        if find_spec("tensorboard") is None:
            raise MissingPackageError("--tensorboard needs a package: pip install 'shardline[train]', or leave it out")
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(folder))

    def started(self, pictures: int) -> None:
        """Nothing is drawn yet."""

    def stepped(self, step: int, pictures: int, losses: Mapping[str, float], rate: float) -> None:
        """Add the terms of the loss, their sum, the learning rate and the number of pictures."""
        self._add("loss", {**losses, "sum": sum(losses.values())}, step)
        self._add("train", {"rate": rate, "pictures": pictures}, step)

    def scored(self, step: int, pictures: int, scores: Mapping[str, float]) -> None:
        """Add validation scores."""
        self._add("score", {**scores, "pictures": pictures}, step)
        self._writer.flush()

    def close(self) -> None:
        """Write what is left."""
        self._writer.close()

    def _add(self, group: str, values: Mapping[str, float], step: int) -> None:
        for name, value in values.items():
            self._writer.add_scalar(f"{group}/{name}", value, step)


def _as_options(recipe: Mapping[str, Any]) -> list[str]:
    """The options that would begin the same training."""
    switches = {name: value for name, value in recipe.items() if isinstance(value, bool)}
    values = {name: value for name, value in recipe.items() if value is not None and name not in switches}
    return [
        *(f"{as_option(name)} {shlex.quote(str(value))}" for name, value in values.items()),
        *(as_option(name if value else f"no-{name}") for name, value in switches.items()),
    ]
