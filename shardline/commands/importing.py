"""`shardline import`: another server's model -> a bundle."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from shardline.console import out, say
from shardline.options import MeanOption, PicturesOption, StdOption, parse_channels, planning_options


def register(app: typer.Typer) -> None:
    group = typer.Typer(help="Take another server's model over.", no_args_is_help=True)
    group.command("torchserve", epilog="Example: shardline import torchserve resnet-18.mar --out bundles/r18 --trust")(
        torchserve
    )
    app.add_typer(group, name="import")


def torchserve(
    archive: Annotated[Path, typer.Argument(metavar="ARCHIVE", help="a .mar, as torch-model-archiver makes it")],
    out_folder: Annotated[Path, typer.Option("--out", help="the bundle's folder")],
    model: Annotated[
        str | None,
        typer.Option(help="the eager model, as `build` takes it: its own code is not run, only its weights are read"),
    ] = None,
    trust: Annotated[
        bool, typer.Option("--trust", help="run the archive's code: its model file, or its TorchScript")
    ] = False,
    handler: Annotated[
        str | None, typer.Option(help="what a handler of your own does: image_classifier, but for the options below")
    ] = None,
    size: Annotated[int, typer.Option(min=1, help="height and width that the handler crops to")] = 224,
    resize: Annotated[int, typer.Option(min=1, help="what it resizes the shorter side to before")] = 256,
    mean: MeanOption = None,
    std: StdOption = None,
    stages: Annotated[int, typer.Option(min=1, help="number of stages; one takes TorchServe's place as it is")] = 1,
    pictures: PicturesOption = None,
    name: Annotated[str | None, typer.Option(help="the bundle's name; default: the folder's")] = None,
) -> None:
    """Make a bundle of a .mar with an eager or TorchScript classifier of pictures, with its weights and labels."""
    from shardline.commands.build import bundle_name
    from shardline.formats.torchserve_archive import read_archive
    from shardline.formats.torchserve_import import CLASSIFIER_PICTURE, Taking, take_over
    from shardline.partition.build import BuildOptions, build
    from shardline.samples import calibration_pixels, golden_picture, picture_files, sample_pictures
    from shardline.tables import bundle_table

    chosen = bundle_name(name or out_folder.name)
    taking = Taking(
        model=model,
        trust=trust,
        handler=handler,
        picture=replace(CLASSIFIER_PICTURE, height=size, width=size, resize=resize),
    )
    if mean is not None:
        taking = replace(taking, mean=parse_channels("--mean", mean))
    if std is not None:
        taking = replace(taking, std=parse_channels("--std", std))
    say(f"reading {archive}")
    taken = take_over(read_archive(archive), taking)
    samples = sample_pictures() if pictures is None else [path.read_bytes() for path in picture_files(pictures)]
    pixels = calibration_pixels(samples, taken.picture)
    golden = golden_picture(pixels[0], taken.picture)
    bundle, _ = build(taken, chosen, pixels, BuildOptions(**_planned(stages)), out_folder, say, golden=golden)
    out.print(bundle_table(bundle))
    out.print(f"{out_folder}: {bundle.name} {bundle.digest}")


def _planned(stages: int) -> dict[str, Any]:
    """As `build` plans where it is told nothing else."""
    return planning_options(
        stages=stages,
        cuts=None,
        batch=1,
        limit="6Mi",
        objective="throughput",
        memory_per_stage=None,
        device="cpu",
        speeds=None,
        hop=None,
        fresh=False,
    )
