"""`shardline train embedding`: a small network that gives like digits like vectors."""

import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from shardline.console import err, out
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


def embedding(
    context: typer.Context,
    out_folder: OutOption,
    data: Annotated[Path, typer.Option(help="folder with MNIST's four idx-ubyte.gz files")],
    resume: ResumeOption = False,
    pictures: Annotated[int, typer.Option(min=2, help="to learn from, in all")] = 240_000,
    batch: Annotated[int, typer.Option(min=2, help="pictures that are told apart at once")] = 256,
    seed: Annotated[int, typer.Option(min=0, help="of the first weights and of all that is drawn by lot")] = 0,
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
    """Train an embedding of digits with a contrastive loss: weights in fp16 that `shardline build embedding` takes.

    Ctrl-C saves first; --resume goes on, to the same weights.
    """
    asked = {
        "data": str(data),
        "pictures": pictures,
        "batch": batch,
        "seed": seed,
        "rate": rate,
        "patience": patience,
    }
    using = Using(device=device, threads=threads, workers=workers, save_every_min=save_every, tensorboard=tensorboard)
    recipe = recipe_of(context, out_folder, asked, resume=resume)
    weights = shlex.quote(str(_train(out_folder, recipe, using, resume=resume)))
    out.print(weights)
    err.print(f"to serve it: shardline build embedding --weights {weights} --out bundles/digits")


def _train(folder: Path, recipe: dict[str, Any], using: Using, *, resume: bool) -> Path:
    from shardline.training.embedding.course import EmbeddingCourse, Recipe
    from shardline.training.fit import Settings
    from shardline.training.weights import write_weights

    course = EmbeddingCourse(
        Recipe(seed=recipe["seed"], pictures=recipe["pictures"], batch=recipe["batch"]), Path(recipe["data"])
    )
    settings = Settings(rate=recipe["rate"], patience=recipe["patience"], warm_up=20, score_every=100)
    outcome, run = run_course("embedding", course, settings, folder, recipe, using, resume=resume)
    facts = facts_of("embedding", recipe, outcome, run) | {"pictures": course.pictures(outcome.step)}
    return write_weights(folder, "embedding", outcome.model, facts)
