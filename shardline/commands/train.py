"""`shardline train`: learn weights, here, from pictures that are drawn as they are needed."""

import shlex
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shardline.console import err, out, say
from shardline.training_bar import TrainingBar
from wire.errors import ModelError

if TYPE_CHECKING:
    from training.fit import Outcome, Run, Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class _Using:
    """What a training is done with: nothing of it decides the weights, on one CPU with the same number of threads."""

    device: str | None
    threads: int | None
    workers: int | None
    save_every_s: float
    tensorboard: bool


def register(app: typer.Typer) -> None:
    group = typer.Typer(help="Train a model from nothing; stop and resume it at any time.", no_args_is_help=True)
    group.command("plates", epilog="Example: shardline train plates --out trained/plates")(plates)
    app.add_typer(group, name="train")


def plates(
    context: typer.Context,
    out_folder: Annotated[Path, typer.Option("--out", help="the training's folder: checkpoints, then the weights")],
    resume: Annotated[bool, typer.Option("--resume", help="go on from the folder's last checkpoint")] = False,
    pictures: Annotated[int, typer.Option(min=8, help="to learn from, in all")] = 36_000,
    views: Annotated[
        float,
        typer.Option(min=0, max=1, help="share of them that are whole views; the others are crops of half the size"),
    ] = 0.08,
    size: Annotated[int, typer.Option(help="of a view in pixels: what will be served")] = 512,
    seed: Annotated[int, typer.Option(min=0, help="of the first weights and of the pictures")] = 0,
    background: Annotated[
        Path | None, typer.Option(help="folder of photographs to draw onto; default: scikit-image's own")
    ] = None,
    rate: Annotated[
        float, typer.Option(min=0, help="highest learning rate; the convolutions take 25 times as much")
    ] = 4e-3,
    patience: Annotated[
        int, typer.Option(min=0, help="stop after so many scores that are none the better; 0: go to the end")
    ] = 0,
    device: Annotated[str | None, typer.Option(help="cpu or cuda; default: a GPU if there is one")] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, help="to compute with; default: the CPUs that may be used")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=0, help="processes that draw; default: 1, for a GPU one less than CPUs")
    ] = None,
    save_every: Annotated[float, typer.Option(min=0, help="minutes from checkpoint to checkpoint")] = 5,
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help="write curves for TensorBoard besides")] = False,
) -> None:
    """Train the detector of license plates: weights in fp16 as safetensors, and a JSON that says how they were made.

    Ctrl-C saves first. With --resume the options that decide the weights are those that the training began with, and
    the weights become those of a training that was never stopped: to the bit on one CPU with as many threads.
    """
    asked = {
        "pictures": pictures,
        "views": views,
        "size": size,
        "seed": seed,
        "background": None if background is None else str(background),
        "rate": rate,
        "patience": patience,
    }
    using = _Using(
        device=device, threads=threads, workers=workers, save_every_s=60 * save_every, tensorboard=tensorboard
    )
    recipe = _began_with(out_folder, _given(context, asked)) if resume else asked
    out.print(str(_train_plates(out_folder, recipe, using, resume=resume)))


def _given(context: typer.Context, asked: dict[str, Any]) -> dict[str, Any]:
    """What of it was typed, not taken by default."""
    typed = {name: context.get_parameter_source(name) for name in asked}
    return {name: asked[name] for name, source in typed.items() if source is not None and source.name == "COMMANDLINE"}


def _began_with(folder: Path, given: dict[str, Any]) -> dict[str, Any]:
    """The recipe of the training in `folder`, from which nothing that is given may differ."""
    say("loading torch")
    from training.checkpoint import LAST, load

    recipe = load(folder / LAST).recipe
    other = [f"--{name} {value}, and it began with {recipe.get(name)}" for name, value in given.items()
             if recipe.get(name) != value]  # fmt: skip
    if other:
        raise ModelError(f"{folder} is resumed as it began; you gave {'; '.join(other)}: leave it out")
    return recipe


def _train_plates(folder: Path, recipe: dict[str, Any], using: _Using, *, resume: bool) -> Path:
    from shardline.samples import picture_files, sample_files
    from training.detector.course import DetectorCourse, Recipe
    from training.detector.fold import fold
    from training.detector.model import PlateDetector
    from training.fit import Settings
    from training.weights import write_weights

    files = sample_files() if recipe["background"] is None else picture_files(Path(recipe["background"]))
    course = DetectorCourse(Recipe(**{name: recipe[name] for name in ("seed", "pictures", "views", "size")}), files)
    settings = Settings(rate=recipe["rate"], patience=recipe["patience"])
    outcome, run = _fit(course, settings, folder, recipe, using, resume=resume)
    facts = _facts("plates", recipe, outcome, run) | {"pictures": course.pictures(outcome.step)}
    assert isinstance(outcome.model, PlateDetector)
    return write_weights(folder, "plates", fold(outcome.model), facts)


def _fit(
    course: Any, settings: "Settings", folder: Path, recipe: dict[str, Any], using: _Using, *, resume: bool
) -> "tuple[Outcome, Run]":
    """Train with a bar; stopped, say how to go on."""
    from partition.threads import available_cpus, use_threads
    from training.curves import Curves
    from training.fit import Run, fit
    from training.hardware import pick_device
    from training.stop import Stopped

    device = pick_device(using.device)
    use_threads(using.threads)
    curves = [Curves(folder / "curves")] if using.tensorboard else []
    usual = 1 if device.type == "cpu" else max(1, available_cpus() - 1)
    with TrainingBar(course.pictures(course.steps)) as bar:
        run = Run(
            folder=folder,
            device=device,
            recipe=recipe,
            workers=usual if using.workers is None else using.workers,
            save_every_s=using.save_every_s,
            watches=[bar, *curves],
        )
        try:
            return fit(course, settings, run, resume=resume), run
        except Stopped as stopped:
            number = stopped.number
        finally:
            for each in curves:
                each.close()
    err.print(f"stopped and saved; to go on: shardline train plates --out {shlex.quote(str(folder))} --resume")
    raise typer.Exit(128 + number)


def _facts(name: str, recipe: dict[str, Any], outcome: "Outcome", run: "Run") -> dict[str, Any]:
    """How the weights came about."""
    from partition.threads import available_cpus
    from training.hardware import is_mixed

    given = [f"--{key} {shlex.quote(str(value))}" for key, value in recipe.items() if value is not None]
    return {
        "command": " ".join((f"shardline train {name} --out {shlex.quote(str(run.folder))}", *given)),
        "recipe": recipe,
        "steps": outcome.step,
        "seconds": round(outcome.seconds),
        "scores": outcome.scores,
        "device": str(run.device),
        "cpus": available_cpus(),
        "precision": "bf16 and fp32" if is_mixed(run.device) else "fp32",
        "versions": {each: version(each) for each in ("torch", "numpy", "pillow")},
    }
