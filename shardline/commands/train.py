"""`shardline train`: train the license plate detector, a classifier or an embedding; stop and resume at any time."""

import shlex
from pathlib import Path
from typing import Annotated, Literal

import typer

from shardline.console import err, out, say
from shardline.options.grammar import GrammarOption
from shardline.options.train import TrainingArguments, takes_training_options
from shardline.tasks.plates.grammar import read_grammar

PicturesOption = Annotated[int, typer.Option(min=8, help="Total number of training pictures")]
PatienceOption = Annotated[
    int, typer.Option(min=0, help="Early stopping: evaluations without improvement before training stops (0: never)")
]
SeedOption = Annotated[int, typer.Option(min=0, help="Seed of the initial weights and of all random numbers")]
RateOption = Annotated[
    float,
    typer.Option(min=0, help="Peak learning rate of AdamW; Muon, which trains the convolutions, has 25 times as much"),
]


def register(app: typer.Typer) -> None:
    group = typer.Typer(help="Train a model; stop and resume it at any time.", no_args_is_help=True)
    group.command("plates", epilog="Example: shardline train plates --out trained/plates")(plates)
    group.command("classifier", epilog="Example: shardline train classifier --data photos --out trained/photos")(
        classifier
    )
    group.command("embedding", epilog="Example: shardline train embedding --data mnist --out trained/digits")(embedding)
    app.add_typer(group, name="train")


@takes_training_options
def plates(
    context: typer.Context,
    pictures: PicturesOption = 40_000,
    weights: Annotated[
        str | None,
        typer.Option(
            help="Initial weights: FILE.safetensors of a training, or plates for those that ship with Shardline "
            "(default: random)"
        ),
    ] = None,
    only: Annotated[
        Literal["texts"] | None,
        typer.Option(help="texts: train only the text reader, which reads whole plates; all other weights stay"),
    ] = None,
    side: Annotated[
        int, typer.Option(help="Side length of the training images in pixels; half of the serving resolution is best")
    ] = 256,
    seed: SeedOption = 0,
    background: Annotated[
        Path | None,
        typer.Option(help="Folder of photographs to draw plates onto (default: the photographs in scikit-image)"),
    ] = None,
    grammar: GrammarOption = None,
    rate: RateOption = 4e-3,
    patience: PatienceOption = 0,
    *,
    training: TrainingArguments,
) -> None:
    """Train the license plate detector, from random weights or from --weights.

    It writes weights in fp16 as safetensors, and a JSON file that records how they were trained. Ctrl-C saves a
    checkpoint and stops. --resume continues with the recipe (the options that determine the weights) that the training
    began with, and gives the weights of an uninterrupted training: bit for bit on one CPU with the same number of
    threads.
    """
    given = {
        "pictures": pictures,
        "weights": weights,
        "only": only,
        "side": side,
        "seed": seed,
        "background": None if background is None else str(background),
        "grammar": None if grammar is None else read_grammar(grammar).source,
        "rate": rate,
        "patience": patience,
    }
    recipe = training.recipe(context, given)
    from shardline.training.detector.train import train_plates

    trained = str(training.run("plates", train_plates, recipe))
    out.print(trained)
    if only is None:
        err.print(f"to serve it: shardline build plates --weights {shlex.quote(trained)} --out bundles/plates")


@takes_training_options
def classifier(
    context: typer.Context,
    data: Annotated[
        str | None,
        typer.Option(
            help="Folder with train/CLASS/*.jpg and test/CLASS/*.jpg, or with CLASS/*.jpg, or digits for "
            "scikit-learn's digits"
        ),
    ] = None,
    model: Annotated[
        str,
        typer.Option(
            help="Network: small (a residual network for small pictures) or torchvision's NAME[?argument=value]"
        ),
    ] = "small",
    weights: Annotated[
        str | None,
        typer.Option(
            help="Initial weights: DEFAULT or another of torchvision's names, which are downloaded, or a "
            ".safetensors or .pt file; the last layer is random (default: random)"
        ),
    ] = None,
    size: Annotated[
        int | None,
        typer.Option(
            min=16, help="Side length of the pictures in pixels (default: 96, for digits 32, else the model's)"
        ),
    ] = None,
    fit: Annotated[
        Literal["crop", "stretch"] | None,
        typer.Option(
            help="How a picture becomes a square: crop keeps its middle, stretch all of it (default: stretch, with "
            "torchvision's networks crop)"
        ),
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Number of passes over the pictures (default: 130, for digits 30)")
    ] = None,
    batch: Annotated[int, typer.Option(min=2, help="Pictures in a batch")] = 32,
    crop: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Augmentation: smallest share of a picture that a random crop keeps (default: "
                     "0.3, for digits 0.7)"),
    ] = None,
    flip: Annotated[
        bool | None,
        typer.Option("--flip/--no-flip", help="Augmentation: mirror every other picture (default: yes, for digits no)"),
    ] = None,
    turn: Annotated[
        float | None,
        typer.Option(min=0, max=180, help="Augmentation: largest rotation in degrees (default: 15, for digits 10)"),
    ] = None,
    jitter: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Augmentation: largest change of colours, as a share (default: 0.5, for digits "
                     "0.3)"),
    ] = None,
    mix: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Augmentation: share of batches with CutMix, which pastes a box of one picture "
                     "into another (default: 0.75, for digits 0.5)"),
    ] = None,
    smoothing: Annotated[float, typer.Option(min=0, max=0.9, help="Label smoothing")] = 0.1,
    balance: Annotated[
        float, typer.Option(min=0, max=1, help="Class weights: 1 gives each class the same weight, 0 each picture")
    ] = 1.0,
    held_out: Annotated[
        float, typer.Option(min=0, max=0.9, help="Share of train/ that is used for validation where there is no val/")
    ] = 0.1,
    seed: SeedOption = 0,
    rate: Annotated[
        float | None,
        typer.Option(min=0, help="Highest learning rate (default: 4e-3, and 10 times as much for convolutions (Muon); "
                     "with --weights 3e-4 for all)"),
    ] = None,
    patience: PatienceOption = 0,
    *,
    training: TrainingArguments,
) -> None:  # fmt: skip
    """Train a classifier of pictures: weights in fp16 as safetensors, and a JSON that `shardline build` takes.

    Ctrl-C saves a checkpoint and stops. --resume continues with the recipe (the options that determine the weights)
    that the training began with, and gives the weights of an uninterrupted training: bit for bit on one CPU with the
    same number of threads.
    """
    given = {
        "data": data,
        "model": model,
        "weights": weights,
        "size": size,
        "fit": fit,
        "epochs": epochs,
        "batch": batch,
        "crop": crop,
        "flip": flip,
        "turn": turn,
        "jitter": jitter,
        "mix": mix,
        "smoothing": smoothing,
        "balance": balance,
        "held_out": held_out,
        "seed": seed,
        "rate": rate,
        "patience": patience,
    }
    recipe = training.recipe(context, given)
    say("loading torch")
    from shardline.training.classifier.train import train_classifier

    described = training.run("classifier", train_classifier, recipe)
    out.print(str(described))
    bundle = shlex.quote(f"bundles/{training.folder.name}")
    err.print(f"to serve it: shardline build {shlex.quote(str(described))} --stages 3 --out {bundle}")


@takes_training_options
def embedding(
    context: typer.Context,
    data: Annotated[Path, typer.Option(help="Folder with MNIST's four idx-ubyte.gz files")],
    pictures: Annotated[int, typer.Option(min=2, help="Total number of training pictures")] = 240_000,
    batch: Annotated[int, typer.Option(min=2, help="Pictures in a batch, contrasted with each other")] = 256,
    seed: SeedOption = 0,
    rate: RateOption = 4e-3,
    patience: PatienceOption = 0,
    *,
    training: TrainingArguments,
) -> None:
    """Train an embedding of digits with a contrastive loss: weights in fp16 that `shardline build embedding` takes.

    Ctrl-C saves a checkpoint and stops; --resume continues and gives the weights of an uninterrupted training.
    """
    given = {
        "data": str(data),
        "pictures": pictures,
        "batch": batch,
        "seed": seed,
        "rate": rate,
        "patience": patience,
    }
    recipe = training.recipe(context, given)
    from shardline.training.embedding.train import train_embedding

    weights = shlex.quote(str(training.run("embedding", train_embedding, recipe)))
    out.print(weights)
    err.print(f"to serve it: shardline build embedding --weights {weights} --out bundles/digits")
