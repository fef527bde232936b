"""`shardline train`: learn weights, here; stopped or killed, a training goes on."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from shardline.commands.train_classifier import classifier
from shardline.commands.train_embedding import embedding
from shardline.console import out, say
from shardline.training_run import (
    OutOption,
    PatienceOption,
    ResumeOption,
    SaveEveryOption,
    TensorboardOption,
    ThreadsOption,
    TrainOnOption,
    Using,
    WorkersOption,
    facts_of,
    recipe_of,
    run_course,
)
from shardline.wire.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shardline.training.detector.course import DetectorCourse, Recipe
    from shardline.training.detector.text_course import TextCourse


Part = Literal["texts"]


def register(app: typer.Typer) -> None:
    group = typer.Typer(help="Train a model; stop and resume it at any time.", no_args_is_help=True)
    group.command("plates", epilog="Example: shardline train plates --out trained/plates")(plates)
    group.command("classifier", epilog="Example: shardline train classifier --data photos --out trained/photos")(
        classifier
    )
    group.command("embedding", epilog="Example: shardline train embedding --data mnist --out trained/digits")(embedding)
    app.add_typer(group, name="train")


def plates(
    context: typer.Context,
    out_folder: OutOption,
    resume: ResumeOption = False,
    pictures: Annotated[int, typer.Option(min=8, help="to learn from, in all")] = 40_000,
    weights: Annotated[
        str | None,
        typer.Option(
            help="to begin with: FILE.safetensors that a training wrote, or plates, what ships; default: none"
        ),
    ] = None,
    only: Annotated[
        Part | None, typer.Option(help="texts: train the reader of whole plates alone; the rest stays as in --weights")
    ] = None,
    side: Annotated[
        int, typer.Option(help="of them in pixels: the half of what will be served, for plates of nearly this width")
    ] = 256,
    seed: Annotated[int, typer.Option(min=0, help="of the first weights and of the pictures")] = 0,
    background: Annotated[
        Path | None, typer.Option(help="folder of photographs to draw onto; default: scikit-image's own")
    ] = None,
    rate: Annotated[
        float, typer.Option(min=0, help="highest learning rate; the convolutions take 25 times as much")
    ] = 4e-3,
    patience: PatienceOption = 0,
    device: TrainOnOption = None,
    threads: ThreadsOption = None,
    workers: WorkersOption = None,
    save_every: SaveEveryOption = 5,
    tensorboard: TensorboardOption = False,
) -> None:
    """Train the detector of license plates, from nothing or from --weights on.

    It writes weights in fp16 as safetensors, and a JSON that says how they were made. Ctrl-C saves first. With --resume
    the options that decide the weights are those that the training began with, and the weights become those of a
    training that was never stopped: to the bit on one CPU with as many threads.
    """
    asked = {
        "pictures": pictures,
        "weights": weights,
        "only": only,
        "side": side,
        "seed": seed,
        "background": None if background is None else str(background),
        "rate": rate,
        "patience": patience,
    }
    using = Using(device=device, threads=threads, workers=workers, save_every_min=save_every, tensorboard=tensorboard)
    recipe = recipe_of(context, out_folder, asked, resume=resume)
    out.print(str(_train_plates(out_folder, recipe, using, resume=resume)))


def _train_plates(folder: Path, recipe: dict[str, Any], using: Using, *, resume: bool) -> Path:
    from shardline.samples import picture_files, sample_files
    from shardline.training.detector.course import Recipe
    from shardline.training.fit import Settings
    from shardline.training.weights import write_weights

    files = sample_files() if recipe["background"] is None else picture_files(Path(recipe["background"]))
    asked = Recipe(**{name: recipe[name] for name in ("seed", "pictures", "side")})
    settings = Settings(rate=recipe["rate"], patience=recipe["patience"])
    course = _course(asked, files, recipe, resume=resume)
    outcome, run = run_course("plates", course, settings, folder, recipe, using, resume=resume)
    facts = facts_of("plates", recipe, outcome, run) | {"pictures": course.pictures(outcome.step)}
    say("making the weights")
    detector, more = course.finished(outcome.model)
    return write_weights(folder, "plates", detector, facts | more)


def _course(
    asked: "Recipe", files: "Sequence[Path]", recipe: dict[str, Any], *, resume: bool
) -> "DetectorCourse | TextCourse":
    from shardline.models import shipped_plates
    from shardline.partition.models import read_state
    from shardline.training.detector.course import DetectorCourse
    from shardline.training.detector.text_course import TextCourse

    named, only = recipe["weights"], recipe["only"]
    if only and named is None:
        raise ModelError(f"--only {only} needs --weights: a detector whose other parts stay, e.g. --weights plates")
    if named is None or (resume and not only):
        return DetectorCourse(asked, files)
    weights = read_state(shipped_plates() if named == "plates" else Path(named))
    return TextCourse(asked, files, weights) if only else DetectorCourse(asked, files, weights)
