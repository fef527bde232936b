"""What trainings have in common: their options, how one is gone on with, the bar, and how its weights came about."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shardline.console import err, say
from shardline.progress import TrainingBar
from shardline.wire.errors import ModelError

if TYPE_CHECKING:
    from shardline.training.fit import Course, Outcome, Run, Settings

OutOption = Annotated[Path, typer.Option("--out", help="the training's folder: checkpoints, then the weights")]
ResumeOption = Annotated[bool, typer.Option("--resume", help="go on from the folder's last checkpoint")]
PatienceOption = Annotated[
    int, typer.Option(min=0, help="stop after so many scores that are none the better; 0: go to the end")
]
TrainOnOption = Annotated[str | None, typer.Option(help="cpu or cuda; default: a GPU if there is one")]
ThreadsOption = Annotated[int | None, typer.Option(min=1, help="to compute with; default: the CPUs that may be used")]
WorkersOption = Annotated[
    int | None, typer.Option(min=0, help="processes that draw; default: 1, for a GPU one less than CPUs")
]
SaveEveryOption = Annotated[float, typer.Option(min=0, help="minutes from checkpoint to checkpoint")]
TensorboardOption = Annotated[bool, typer.Option("--tensorboard", help="write curves for TensorBoard besides")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Using:
    """What a training is done with: nothing of it decides the weights, on one CPU with the same number of threads."""

    device: str | None
    threads: int | None
    workers: int | None
    save_every_min: float
    tensorboard: bool


def recipe_of(context: typer.Context, folder: Path, asked: Mapping[str, Any], *, resume: bool) -> dict[str, Any]:
    """What decides the weights: what is asked for, or, resumed, what the training in `folder` began with.

    Args:
        asked: the values of the options that decide the weights, by their parameters' names.

    Raises:
        ModelError: nothing to resume, or an option that was typed differs from what the training began with.
    """
    if not resume:
        return dict(asked)
    say("loading torch")
    from shardline.training.checkpoint import LAST, load

    recipe = load(folder / LAST).recipe
    typed = [name for name in asked if getattr(context.get_parameter_source(name), "name", "") == "COMMANDLINE"]
    other = [f"{_option(name)} {asked[name]}, and it began with {recipe.get(name)}" for name in typed
             if recipe.get(name) != asked[name]]  # fmt: skip
    if other:
        raise ModelError(f"{folder} is resumed as it began; you gave {'; '.join(other)}: leave it out")
    return recipe


def run_course(
    name: str, course: "Course[Any]", settings: "Settings", folder: Path, recipe: dict[str, Any], using: Using, *,
    resume: bool,
) -> "tuple[Outcome, Run]":  # fmt: skip
    """Train with a bar; stopped, say how to go on: `shardline train NAME --out FOLDER --resume`.

    Raises:
        ModelError: as `shardline.training.fit.fit`.
    """
    from shardline.partition.threads import available_cpus, use_threads
    from shardline.training.curves import Curves
    from shardline.training.fit import Run, fit
    from shardline.training.hardware import pick_device
    from shardline.training.stop import Stopped

    device = pick_device(using.device)
    use_threads(using.threads)
    curves = [Curves(folder / "curves")] if using.tensorboard else []
    usual = 1 if device.type == "cpu" else max(1, available_cpus() - 1)
    with TrainingBar() as bar:
        bar.started(course.pictures(course.steps))
        run = Run(
            folder=folder,
            device=device,
            recipe=recipe,
            workers=usual if using.workers is None else using.workers,
            save_every_s=60 * using.save_every_min,
            watches=[bar, *curves],
        )
        try:
            return fit(course, settings, run, resume=resume), run
        except Stopped as stopped:
            number = stopped.number
        finally:
            for each in curves:
                each.close()
    err.print(f"stopped and saved; to go on: shardline train {name} --out {shlex.quote(str(folder))} --resume")
    raise typer.Exit(128 + number)


def facts_of(name: str, recipe: Mapping[str, Any], outcome: "Outcome", run: "Run") -> dict[str, Any]:
    """How the weights came about."""
    from shardline.partition.threads import available_cpus
    from shardline.training.hardware import is_mixed

    return {
        "command": " ".join((f"shardline train {name} --out {shlex.quote(str(run.folder))}", *_typed(recipe))),
        "recipe": dict(recipe),
        "steps": outcome.step,
        "seconds": round(outcome.seconds),
        "scores": outcome.scores,
        "device": str(run.device),
        "cpus": available_cpus(),
        "precision": "bf16 and fp32" if is_mixed(run.device) else "fp32",
        "versions": {each: version(each) for each in ("torch", "numpy", "pillow")},
    }


def _typed(recipe: Mapping[str, Any]) -> list[str]:
    """The options that would begin the same training."""
    switches = {name: value for name, value in recipe.items() if isinstance(value, bool)}
    values = {name: value for name, value in recipe.items() if value is not None and name not in switches}
    return [
        *(f"{_option(name)} {shlex.quote(str(value))}" for name, value in values.items()),
        *(_option(name if value else f"no-{name}") for name, value in switches.items()),
    ]


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"
