"""`shardline train classifier`: a folder of pictures -> weights that `shardline build` takes."""

import shlex
from typing import Annotated, Literal

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
    recipe_of,
)


def classifier(
    context: typer.Context,
    out_folder: OutOption,
    data: Annotated[
        str | None, typer.Option(help="a folder with train/CLASS/*.jpg and test/, or digits (scikit-learn's)")
    ] = None,
    resume: ResumeOption = False,
    model: Annotated[
        str, typer.Option(help="small (a residual network for small pictures) or torchvision's NAME[?argument=value]")
    ] = "small",
    weights: Annotated[
        str | None,
        typer.Option(
            help="to begin with, in place of random ones: DEFAULT or another of torchvision's names (it downloads "
            "them), or a .safetensors or .pt file; the last layer begins anew"
        ),
    ] = None,
    size: Annotated[
        int | None, typer.Option(min=16, help="of a picture in pixels; default: 96, for digits 32, else the model's")
    ] = None,
    fit: Annotated[
        Literal["crop", "stretch"] | None,
        typer.Option(help="what becomes a square: the middle, or all; default: all, of torchvision's the middle"),
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="how often to go through the pictures; default: 130, digits 30")
    ] = None,
    batch: Annotated[int, typer.Option(min=2, help="pictures a step")] = 32,
    crop: Annotated[
        float | None, typer.Option(min=0, max=1, help="least share of a picture to cut out; default: 0.3, digits 0.7")
    ] = None,
    flip: Annotated[
        bool | None, typer.Option("--flip/--no-flip", help="mirror every other picture; default: yes, digits no")
    ] = None,
    turn: Annotated[
        float | None, typer.Option(min=0, max=180, help="by so many degrees at most; default: 15, digits 10")
    ] = None,
    jitter: Annotated[
        float | None, typer.Option(min=0, max=1, help="change colours by this share at most; default: 0.5, digits 0.3")
    ] = None,
    mix: Annotated[
        float | None,
        typer.Option(
            min=0, max=1, help="share of steps that paste a part of one picture into another; default: 0.75, digits 0.5"
        ),
    ] = None,
    smoothing: Annotated[float, typer.Option(min=0, max=0.9, help="of labels")] = 0.1,
    balance: Annotated[
        float, typer.Option(min=0, max=1, help="1: each class counts the same, 0: each picture does")
    ] = 1.0,
    held_out: Annotated[
        float, typer.Option(min=0, max=0.9, help="share of train/ to score with, where there is no val/")
    ] = 0.1,
    seed: Annotated[int, typer.Option(min=0, help="of the first weights and of all that is drawn by lot")] = 0,
    rate: Annotated[
        float | None,
        typer.Option(min=0, help="highest learning rate; default: 4e-3 and for convolutions 10 times as much (Muon), "
                     "with --weights 3e-4 for all"),
    ] = None,
    patience: PatienceOption = 0,
    device: TrainOnOption = None,
    threads: ThreadsOption = None,
    workers: WorkersOption = None,
    save_every: SaveEveryOption = 5,
    tensorboard: TensorboardOption = False,
) -> None:  # fmt: skip
    """Train a classifier of pictures: weights in fp16 as safetensors, and a JSON that `shardline build` takes.

    Ctrl-C saves first. With --resume the options that decide the weights are those that the training began with, and
    the weights become those of a training that was never stopped: to the bit on one CPU with as many threads.
    """
    from shardline.classifier_training import resolved, train_classifier

    asked = {
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
    using = Using(device=device, threads=threads, workers=workers, save_every_min=save_every, tensorboard=tensorboard)
    recipe = recipe_of(context, out_folder, asked, resume=resume)
    described = train_classifier(out_folder, recipe if resume else resolved(recipe), using, resume=resume)
    out.print(str(described))
    bundle = shlex.quote(f"bundles/{out_folder.name}")
    err.print(f"to serve it: shardline build {shlex.quote(str(described))} --stages 3 --out {bundle}")
